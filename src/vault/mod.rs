//! Secrets: where each one comes from, and the one way to its text.
//!
//! - A source reads one secret: settings flow in, a [`Secret`](crate::value::Secret) flows out. Each source is one file here
//!   and one line in [`SOURCES`].
//! - [`Secrets`] keeps what was read and gives out placeholders. Expressions, settings, keys, outputs and events hold only
//!   those. [`Secrets::reveal`] replaces them where a text leaves the program, after the use is on record.
//!
//! What never happens here: the text of a secret goes into no error, and nowhere without a record. A secret that nothing
//! needs is not read.
//!
//! A program that prints a secret runs as a stage's program does: no shell, the same few variables, a process group that is killed.
//! Errors show the last lines of its standard error and never its standard output. A sealed value is an armored age file: stock age
//! opens it, and `validate` checks armor and header without an identity.

mod command;
mod env;
mod error;
mod file;
mod program;
mod registry;
mod sealed;
mod secrets;
mod source;
mod systemd_creds;

pub use command::Command;
pub use env::Env;
pub use error::{Error, WITHOUT_NUL};
pub use file::SecretFile;
pub use registry::SOURCES;
pub use sealed::Sealed;
pub use secrets::{RevealError, Secrets, Uses};
pub use source::Source;
pub use systemd_creds::SystemdCreds;

//! Secrets: where each one comes from. Each source is one file here and one line in [`SOURCES`].
//!
//! Settings flow in, a [`Secret`](crate::value::Secret) flows out. Its value goes into no error.
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
mod source;
mod systemd_creds;

pub use command::Command;
pub use env::Env;
pub use error::{Error, WITHOUT_NUL};
pub use file::SecretFile;
pub use registry::SOURCES;
pub use sealed::Sealed;
pub use source::Source;
pub use systemd_creds::SystemdCreds;

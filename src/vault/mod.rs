//! Secrets: where each one comes from. Each source is one line in [`SOURCES`].
//!
//! A name and a place flow in, a [`Secret`](crate::value::Secret) flows out. Its value goes into no error.

mod command;
mod env;
mod error;
mod file;
mod program;
mod sealed;
mod source;
mod systemd_creds;

pub use command::Command;
pub use env::Env;
pub use error::{Error, WITHOUT_NUL};
pub use file::SecretFile;
pub use sealed::Sealed;
pub use source::{SOURCES, Source, Unfit};
pub use systemd_creds::SystemdCreds;

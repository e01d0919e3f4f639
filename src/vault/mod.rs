//! Secrets: where each one comes from. Each source is one line in [`SOURCES`].
//!
//! A name and a place flow in, a [`Secret`](crate::value::Secret) flows out. Its value goes into no error.

mod env;
mod file;
mod source;

pub use env::Env;
pub use file::SecretFile;
pub use source::{Error, SOURCES, Source};

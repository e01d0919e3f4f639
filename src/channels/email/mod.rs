//! E-mail: a message flows in, the mail server's reply flows out.
//!
//! The crate `lettre` is used in this folder only. A password is never sent without TLS, except to this machine itself
//! with `insecure-plaintext`.

mod mail;
mod settings;
mod smtp;

pub use settings::Email;

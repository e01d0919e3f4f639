//! E-mail: a message flows in, what the mail server replied flows out.
//!
//! The crate `lettre` is used in this folder only. A password is sent through TLS or not at all.

mod mail;
mod settings;
mod smtp;

pub use settings::Email;

//! Sealed files, the keys that open them, and signatures: the only door to libsodium.
//!
//! A sealed file is an age v1 file (<https://c2sp.org/age>), and any age implementation can open it. Plaintext and recipients
//! flow in, a header and a stream of 64 KiB chunks flow out. Opening writes only authentic chunks. Nothing here knows
//! pipelines or stores. No secret is ever part of an error.

mod armor;
mod error;
mod header;
mod identity_file;
mod keys;
mod pipeline;
mod scrypt;
mod sodium;
mod stanza;
mod stream;

pub mod sign;

pub use armor::{armor, check, dearmor};
pub use error::{Error, KeyError, LineError};
pub use identity_file::{IdentityFileError, create_identity, read_identities};
pub use keys::{Identity, Key, Recipient, parse_identities, parse_recipients};
pub use sodium::random;
pub use stream::{Opened, Sealed, open, seal, sealed_len};

#[cfg(test)]
mod tests;

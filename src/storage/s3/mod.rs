//! The store kind `s3`: Amazon S3, and what speaks its protocol.
//!
//! The SDK makes and signs requests; everything else is decided here: which checksum goes with the bytes, how long a
//! request may take, what is tried again, and when an answer counts. Its own retries, timeouts and checksums are off.

mod abort;
mod checksum;
mod connection;
mod fault;
mod get;
mod multipart;
mod part;
mod probe;
mod put;
mod recover;
mod resume;
mod retry;
mod settings;
mod stat;
mod store;

pub use settings::S3;

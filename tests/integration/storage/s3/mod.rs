//! Stores of kind `s3`: against a server that fails on request, and against third-party servers.

mod delivery;
mod faults;
mod left;
#[cfg(feature = "peers")]
mod peers;
mod resume;
mod settings;

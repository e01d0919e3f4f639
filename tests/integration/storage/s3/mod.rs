//! Stores of kind `s3`, with a server that fails on request and with servers of other projects.

mod delivery;
mod faults;
mod left;
#[cfg(feature = "peers")]
mod peers;
mod resume;
mod settings;

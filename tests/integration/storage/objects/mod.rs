//! Stores: one suite for the calls of `Objects`, run against every kind and server, and the further promises of each
//! kind.

mod conformance;
mod directory;
mod faults;
#[cfg(feature = "peers")]
mod peers;
mod stuck;

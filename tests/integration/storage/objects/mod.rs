//! Stores: one suite for the calls of `Objects`, run against every kind and server, and what each kind promises beyond it.

mod conformance;
mod directory;
mod faults;
#[cfg(feature = "peers")]
mod peers;
mod stuck;

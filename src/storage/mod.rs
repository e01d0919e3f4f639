//! Stores: places that hold objects.
//!
//! Bytes flow in under a key and out again; an object is there whole or not at all. Each kind is one file and one line
//! in [`KINDS`]. Nothing here knows of stages, pipelines or sealing.

mod dir;
mod error;
mod store;

pub use dir::Dir;
pub use error::Error;
pub use store::{Body, KINDS, Stat, Store};

//! The pipeline file: mistakes in it, its meaning, and what an editor knows about it.

mod bounds;
#[cfg(feature = "peers")]
mod editor;
mod expected;
mod semantics;
mod warned;
mod wrong;

//! The pipeline file: what is wrong in it, what it means, and what an editor knows of it.

mod bounds;
#[cfg(feature = "peers")]
mod editor;
mod expected;
mod semantics;
mod warned;
mod wrong;

//! What many tests use.

pub mod events;

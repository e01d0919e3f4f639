//! Shared by tests: the real `tl` in its own folder, receivers of messages, trees to compare.

pub mod events;
pub mod program;
pub mod receiver;
pub mod tree;

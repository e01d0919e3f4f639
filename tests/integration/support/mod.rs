//! What tests share: the real `tl` in a folder of its own, receivers of messages, trees to compare.

pub mod events;
pub mod program;
pub mod receiver;
pub mod tree;

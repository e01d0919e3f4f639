//! The store kind `dir`: a directory of this machine.

mod deliver;

pub use deliver::Dir;

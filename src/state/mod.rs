//! The state folder: where the audit log and the work of runs lie.
//!
//! Everything in it is made 0700 and 0600 by explicit mode; the umask of whoever starts tl decides nothing.

mod dir;

pub use dir::{Error, StateDir, WorkDir};

//! The command line: arguments, nothing else. The crate `clap` is used in this folder only.

mod arguments;
mod audit;
mod file;
mod key;
mod main;
mod notify;
mod pipeline;
mod seal;
mod validate;

pub use main::main;

use main::Done;

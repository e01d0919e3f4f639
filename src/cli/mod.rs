//! The command line: arguments, nothing else. The crates `clap`, `clap_complete` and `clap_mangen` are used in this
//! folder only.

mod arguments;
mod audit;
mod explain;
mod file;
mod history;
mod history_arguments;
mod init;
mod key;
mod main;
mod manual;
mod migrate;
mod notify;
mod pipeline;
mod seal;
mod sealing_arguments;
mod secret;
mod terminal;
mod validate;
mod versions;

pub use main::main;

use main::Done;

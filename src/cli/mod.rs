//! The command line: arguments, nothing else. The crates `clap`, `clap_complete` and `clap_mangen` are used in this
//! folder only.

mod arguments;
mod audit;
mod cancel;
mod explain;
mod file;
mod history;
mod history_arguments;
mod init;
mod key;
mod known_run;
mod logs;
mod main;
mod manual;
mod migrate;
mod notify;
mod pipeline;
mod run_arguments;
mod seal;
mod sealing_arguments;
mod secret;
mod terminal;
mod validate;
mod versions;

pub use main::main;

use main::Done;

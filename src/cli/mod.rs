//! The command line: arguments, and what each command shows. The crates `clap`, `clap_complete` and `clap_mangen` are used
//! in this folder only.
//!
//! In: the words of the command line. Out: an exit code; everything else goes through [`Output`](crate::report::Output).
//! The folders are families of commands: `file/` looks at pipeline files, `run/` runs them, `history/` shows what ran,
//! `keys/` has identities, secrets and sealed files. The arguments of a command stand beside it.

mod arguments;
mod atomic_file;
mod audit;
mod done;
mod explain;
mod file;
mod history;
mod inputs;
mod keys;
mod main;
mod manual;
mod notify;
mod run;
mod state;

pub use main::main;

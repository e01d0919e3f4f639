//! Programs that tl starts, and the identity of processes.
//!
//! A [`Program`] flows in: what to run, with which environment, input and limits. Its exit status and its bounded, masked output
//! flow out. Stages, sources of secrets, channels and git all start programs here and nowhere else.
//!
//! No program outlives tl, `kill -9` included. A second process of tl, `tl supervise`, reads a pipe that ends with tl, and then
//! ends what still runs. It knows a program and its descendants by a mark in the environment, by the process group, and by the
//! parent, so leaving the group or clearing the environment is no way out. The kernel offers less: a parent-death signal does
//! not reach grandchildren, and a signal to the group does not reach a program that called `setsid`. Three things follow:
//!
//! - Each program has a number in its mark. What a program leaves behind when it ends by itself, such as a daemon, stays.
//! - A program does not start without a supervisor: an orphan beside the next run's program is worse than a stage that fails.
//! - The supervisor holds the run's locks until it has ended the programs, so the next run does not start beside them.
//!
//! A program gets five variables of tl's environment and nothing else, since any other may be a secret.

mod find;
mod lifeline;
mod output;
#[expect(clippy::module_inception, reason = "one type, one file, named for it")]
mod process;
mod program;
mod supervisor;
mod table;

pub use find::{find_program, unstartable};
pub use lifeline::{enable, end_at_once, finish, hold, own_path};
pub use output::{Captured, Line};
pub use process::Process;
pub use program::{Failure, Program};
pub use supervisor::{COMMAND, GRACE, supervise};
pub use table::is_ignored;

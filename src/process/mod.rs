//! The processes that tl starts, and those that it must tell apart.
//!
//! A program that is to be started flows in as [`Supervised`]; nothing flows out but its end: whatever becomes of tl,
//! `kill -9` included, a process of tl's own sees to it that no program goes on alone. No output of programs passes here.

mod lifeline;
#[expect(clippy::module_inception, reason = "one type, one file, named for it")]
mod process;
mod supervisor;
mod table;

pub use lifeline::{Supervised, enable, end_at_once, finish, hold};
pub use process::Process;
pub use supervisor::{COMMAND, GRACE, supervise};

//! When something happens again and again: cron and systemd's calendar forms, read into one meaning.
//!
//! A text flows in; its one normal spelling, its words and its next time flow out. The crate `croner` finds the times; it is
//! used in this folder only.

mod cron;
mod error;
mod parse;
mod recurrence;
mod rule;
mod set;
mod systemd;
mod words;

pub use error::{ScheduleError, ScheduleErrorKind};
pub use recurrence::Schedule;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

//! Recurring times: cron and systemd's calendar forms, read into one meaning.
//!
//! A text flows in. Its normal form, its words and its next time flow out. Equal schedules have one normal form: cron's
//! if cron can express it, else systemd's.
//!
//! A schedule that names hours happens once for each of them, even if the clock is changed. systemd leaves out a day whose
//! hour is skipped; a backup must not. The crate `croner` finds the times; it is used in this folder only.

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

//! One run, from its first record to its exit code.
//!
//! A loaded pipeline and options flow in; events flow out while it runs, and one exit code at the end. The journal, the audit
//! log and the logs of programs are written on the way.
//! What never happens here: nothing is printed, and no message of success is sent before the end of the run is on record.
//! This room may import all the rooms before it; only `report` and `cli` come after it.

mod chain;
mod delivery_journal;
mod end;
mod event_sink;
mod execute;
mod group;
mod last_words;
mod logs;
mod on_record;
mod options;
mod orphans;
mod prepare;
mod recall;
mod resume;
mod selected;
mod spools;
mod unread;
mod uploads;
mod work;

pub(crate) use execute::execute;
pub(crate) use last_words::LastWords;
pub(crate) use options::Options;
pub(crate) use orphans::abort_orphans;
pub(crate) use resume::{ResumeMode, Resumed, resume};
pub(crate) use unread::unread;

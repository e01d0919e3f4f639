//! One run, from its first record to its exit code.
//!
//! A loaded pipeline and options flow in; events flow out while it runs, and one exit code at the end. The journal, the audit
//! log and the logs of programs are written on the way.
//! What never happens here: no file is parsed or checked anew, and nothing is printed. This room knows all the rooms before
//! it; only `cli` and `report` come after it.

mod chain;
mod delivery_journal;
mod event_log;
mod event_sink;
mod execute;
mod exit;
mod group;
mod logs;
mod on_record;
mod options;
mod prepare;
mod prior_effects;
mod recall;
mod resume;
mod selected;
mod spools;
mod uploads;
mod work;

pub use execute::execute;
pub use options::Options;
pub use resume::{ResumeMode, Resumed, resume};

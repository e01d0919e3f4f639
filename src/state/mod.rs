//! The state folder: where the audit log, the outbox, the texts of pipelines and the work of runs lie.
//!
//! Everything in it is made 0700 and 0600 by explicit mode; the umask of whoever starts tl decides nothing.
//!
//! The crate `rusqlite` is used in this folder only.

mod backoff;
mod db;
mod deliveries;
mod dir;
mod event_log;
mod find;
mod gc;
mod group;
mod history;
mod journal;
mod left;
mod logs;
mod outbox;
mod owner;
mod record;
mod versions;

pub use crate::process::Process;
pub use backoff::backoff;
pub use db::DbError;
pub use deliveries::{Step, UploadLeft};
pub use dir::{Error, StateDir, WorkDir};
pub use find::{FoundRun, KnownRun};
pub use gc::{Keep, Removed};
pub use group::{GroupLock, Holder};
pub use history::{Filter, Runs};
pub use journal::{Finish, Journal, Start};
pub use left::{Delivery, Effect, LastRun, Left, RunEnd};
pub use logs::{Log, LogLine, LogReader, LogWriter, Logs};
pub use outbox::{Attempt, Entry, Letter, LetterState, Outbox};
pub use record::{Failure, LastGood, Life, Record, Remark, Run, StageRun};
pub use versions::{Text, Version, Versions};

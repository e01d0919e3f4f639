//! The state folder: the journals of runs, logs, the outbox, versions of pipelines, work folders, locks.
//!
//! Events and effects of a run flow in; records, messages and texts flow out. Nothing here decides what a run does, and no
//! secret is written: the caller masks every text. Files are 0600 and folders 0700 by explicit mode, whatever the umask is.
//! `rusqlite` is used here only.
//!
//! - A run whose journal cannot be opened starts with a warning: a backup that cannot be resumed is better than none. A resumed
//!   run needs its journal, and a run whose journal fails in the middle stops: what began with a journal must not go on without.
//! - Whether a run is at work is asked of the kernel's lock on its work folder, never of its age or process id.
//! - A database of an earlier release is migrated even to be read. Otherwise it would look as if nothing ever ran.
//! - The ids of outbox messages hold the session: that a run failed again after a resume is news.
//! - A run's id, times, inputs and environment stay the same when it is resumed, since object keys are made of them.
//! - A run is in the journal before its secrets are read, so that it is seen and can be ended meanwhile. Its session is 0 until then:
//!   nobody knows yet whether its inputs hold a secret, so they are not kept, and it supersedes no other run.
//! - The row of a stage keeps the times of its work. That a later session found it done changes its outcome at most.
//! - A database in a folder that cannot be written is read as it is, if no log beside it holds a part of it.
//! - The work folder is removed only after the end of the run is in the journal.

mod backoff;
mod db;
mod deliveries;
mod dir;
mod event_log;
mod find;
mod gc;
mod group;
mod held;
mod history;
mod journal;
mod logs;
mod open;
mod outbox;
mod owner;
mod prior_run;
mod record;
mod rows;
mod versions;

pub use crate::process::Process;
pub use backoff::backoff;
pub use db::DbError;
pub use deliveries::{DeliveryStep, OpenUploadOf, UnfinishedUpload};
pub use dir::{Error, StateDir, WorkDir};
pub use find::{FoundRun, KnownRun};
pub use gc::{Keep, Removed};
pub use group::{GroupLock, Holder};
pub use history::{Filter, Runs};
pub use journal::{Finish, Journal};
pub use logs::{Log, LogLine, LogReader, LogWriter, Logs};
pub use outbox::{Attempt, MessageState, Outbox, OutboxEntry, OutboxMessage};
pub use prior_run::{Delivery, Effect, LastRun, PriorRun, RunEnd, Start};
pub use record::{Failure, LastGood, Record, Remark, Run, RunSize, RunState, StageRun};
pub use versions::{Text, Version, Versions};

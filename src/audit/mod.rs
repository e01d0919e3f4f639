//! The audit log: what happened, in an append-only Merkle tree that nobody can quietly change.
//!
//! In flow [`Record`]s, through the [`Recorder`], which masks their secrets. Each becomes one line of canonical JSON that
//! names the hash of the line before it. At the end of each run the tree over all lines is signed as a C2SP
//! [checkpoint](https://c2sp.org/tlog-checkpoint). Out flow [`LogEntry`]s for people and a [`Report`] that names the first
//! entry that does not fit. Nothing is ever changed or deleted here: torn tails and damaged logs are moved aside.
//!
//! What must be known before it happens (an upload, the use of a key) is recorded as an intent and on the disk first.
//! Whatever cannot be recorded fails its stage, or stops the run. Beginnings and ends of stages are noted and not synced:
//! they prove nothing by themselves, and each sync costs a disk's latency.
//!
//! A process that has the log open remembers its size, root and key: a log that is set back or exchanged meanwhile is damaged.
//!
//! What a log on one machine cannot show: whoever is root can cut everything after the newest checkpoint that somebody
//! else keeps, or replace the whole folder with its key. `verify_pinned` with a remembered key shows the second.

mod accept;
mod append;
mod aside;
mod backwards;
mod checkpoint;
mod error;
mod files;
mod identity;
mod log;
mod merkle;
mod note;
mod problem;
mod read;
mod record;
mod recorder;
mod segment;
mod state;
#[cfg(test)]
mod tests;
mod verify;

pub use accept::accept;
pub use append::{Durability, Interrupted};
pub use backwards::{Backwards, read_backwards};
pub use checkpoint::Checkpoint;
pub use error::Error;
pub use identity::check_key;
pub use log::Log;
pub use merkle::Hash;
pub use note::Verifier;
pub use problem::{At, Problem};
pub use read::{Filter, Forwards, read};
pub use record::{
    Actor, Draft, ExtendedFile, JsonError, LogEntry, Prepared, Record, RunEnd, RunStart, SecretUser, SentMessage,
    Severity, StageName, UploadRef, entry_schema,
};
pub use recorder::{RecordError, Recorder};
pub use verify::{Report, verify, verify_pinned};

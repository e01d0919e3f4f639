//! The audit log: what happened, in an append-only Merkle tree that nobody can quietly change.
//!
//! In flow [`Entry`]s; each becomes one line of canonical JSON that names the hash of the line before it. At the end of
//! each run the tree over all lines is signed as a C2SP [checkpoint](https://c2sp.org/tlog-checkpoint). Out flow
//! [`Record`]s for people and a [`Report`] that names the first record that does not fit. Nothing is ever changed or
//! deleted here: torn tails and damaged logs are moved aside. Masking of secrets happens before, not here.
//!
//! What a log on one machine cannot show: whoever is root can cut everything after the newest checkpoint that somebody
//! else keeps, or replace the whole folder with its key. `verify_pinned` with a remembered key shows the second.

mod accept;
mod append;
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
mod segment;
mod state;
#[cfg(test)]
mod tests;
mod verify;

pub use accept::accept;
pub use checkpoint::Checkpoint;
pub use error::Error;
pub use log::{Durability, Log};
pub use merkle::Hash;
pub use note::Verifier;
pub use problem::{At, Problem};
pub use read::{Filter, Records, read};
pub use record::{Actor, Entry, JsonError, Record, Severity};
pub use verify::{Report, verify, verify_pinned};

//! What a state folder holds, opened. This file imports its siblings, so none of them imports it.

use super::db::DbError;
use super::dir::{Error, StateDir};
use super::find::{FoundRun, find_run};
use super::group::{GroupLock, Holder};
use super::journal::Journal;
use super::logs::Logs;
use super::outbox::Outbox;
use super::prior_run::{LastRun, PriorRun, Start, last_runs};
use super::versions::Versions;

/// The folder of the locks of processes that send messages.
const SENDERS: &str = "senders";

impl StateDir {
    /// Whether there is an outbox.
    pub fn has_outbox(&self) -> bool {
        self.path().join(SENDERS).exists()
    }

    /// Opens the outbox; creates it if it is missing. The folder must exist.
    pub fn outbox(&self) -> Result<Outbox, DbError> {
        Outbox::open(&self.database(), &self.path().join(SENDERS))
    }

    /// Opens the versions of pipelines; creates their tables if they are missing. The folder must exist.
    pub fn versions(&self) -> Result<Versions, DbError> {
        Versions::open(&self.database())
    }

    /// Opens the versions of pipelines to read them; `None` if there is no database.
    pub fn peek_versions(&self) -> Result<Option<Versions>, DbError> {
        Versions::peek(&self.database())
    }

    /// Begins the journal of a run, durably. The folder must exist.
    pub fn begin_journal(&self, start: &Start) -> Result<Journal, DbError> {
        Journal::begin(&self.database(), start)
    }

    /// Resumes the journal of a run. `sha256` is of its present pipeline file.
    pub fn resume_journal(&self, run: &str, sha256: &str) -> Result<Journal, DbError> {
        Journal::resume(&self.database(), run, sha256)
    }

    /// Reads what earlier sessions of a run did; `None` if the id is unknown.
    pub fn prior_run(&self, run: &str) -> Result<Option<PriorRun>, DbError> {
        PriorRun::read(&self.database(), run)
    }

    /// The last run of each pipeline, the latest first.
    pub fn last_runs(&self) -> Result<Vec<LastRun>, DbError> {
        last_runs(&self.database())
    }

    /// Finds a run by its id, or by the beginning or end of one.
    pub fn find_run(&self, word: &str) -> Result<FoundRun, DbError> {
        find_run(&self.database(), word)
    }

    /// The logs of the programs of a run.
    pub fn logs(&self, run: &str) -> Logs {
        Logs::new(self.path().join("logs").join(run))
    }

    /// Takes the lock of a concurrency group, or returns its holder. The folder must exist.
    pub fn take_group(&self, group: &str, holder: &str) -> Result<Result<GroupLock, Holder>, Error> {
        let folder = self.path().join("groups");
        GroupLock::take(&folder, group, holder).map_err(|source| Error::Io { path: folder, source })
    }
}

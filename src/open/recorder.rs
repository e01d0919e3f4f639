use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::audit_error;
use crate::audit::{self, Log, Record};
use crate::diagnostic::{Diagnostic, Result};
use crate::stages::{Checkpoint, Recorder};
use crate::value::Masker;

/// The audit log's recorder, with its errors as diagnostics.
pub(crate) struct LogRecorder(audit::Recorder);

impl LogRecorder {
    /// `run` is the run that the records belong to, if there is one.
    pub(crate) fn new(log: Log, run: Option<&str>, masker: Masker) -> Self {
        Self(audit::Recorder::new(log, run, masker))
    }

    /// Queues a record that need not be on the disk before the work continues.
    pub(crate) fn note(&self, record: Record) -> Result<()> {
        self.0.note(record).map_err(|error| audit_error(&error))
    }

    /// Why queued records could not be written, if so; told once.
    pub(crate) fn refused(&self) -> Option<Diagnostic> {
        self.0.refused().map(|error| audit_error(&error))
    }
}

impl Recorder for LogRecorder {
    fn record(&self, record: Record) -> Result<()> {
        self.0.record(record).map_err(|error| audit_error(&error))
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let checkpoint = self.0.checkpoint().map_err(|error| audit_error(&error))?;
        Ok(Checkpoint { size: checkpoint.size, root: STANDARD.encode(checkpoint.root), note: checkpoint.note })
    }
}

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::audit::{self, Log, Record};
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::stages::{Checkpoint, Recorder};
use crate::value::Masker;

/// The audit log's recorder, with its errors as diagnostics.
pub(super) struct LogRecorder(audit::Recorder);

impl LogRecorder {
    /// `run` is the run that the records belong to, if there is one.
    pub(super) fn new(log: Log, run: Option<&str>, masker: Masker) -> Self {
        Self(audit::Recorder::new(log, run, masker))
    }

    /// Queues a record that need not be on the disk before the work continues.
    pub(super) fn note(&self, record: Record) -> Result<()> {
        self.0.note(record).map_err(|error| audit_error(&error))
    }

    /// Why queued records could not be written, if so; told once.
    pub(super) fn refused(&self) -> Option<Diagnostic> {
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

/// What is wrong with the log, and what to do about it.
pub fn audit_error(error: &audit::Error) -> Diagnostic {
    use audit::Error;
    let (code, kind, help) = match error {
        Error::Damaged(_) => (
            codes::TL0701,
            Kind::Audit,
            "nothing is written until somebody decides: `tl audit verify` shows all of it, `tl audit accept --reason …` puts \
             the log aside and begins a new one",
        ),
        Error::Busy { .. } => (codes::TL0702, Kind::Busy, "another process holds the log; try again"),
        Error::ExposedKey { .. } => (codes::TL0703, Kind::Key, "`chmod 600` it, and ask who may have read it"),
        Error::Missing(_) => (codes::TL0704, Kind::Failure, "the first `tl run` begins a log"),
        Error::TooLong { .. } | Error::Data { .. } => {
            (codes::TL0709, Kind::Failure, "shorten the inputs or the names in the file")
        }
        Error::NotDamaged => (codes::TL0705, Kind::Usage, "there is nothing to do"),
        _ => (codes::TL0706, Kind::Failure, "make sure that the state folder is on a disk with room, and writable"),
    };
    let diagnostic = Diagnostic::new(code, kind, error.to_string()).help(help);
    match std::error::Error::source(error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

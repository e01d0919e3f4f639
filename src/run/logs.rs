use std::sync::{Mutex, OnceLock, PoisonError};

use crate::diagnostic::{Diagnostic, codes};
use crate::event::Stream;
use crate::state::{LogWriter, Logs};

/// Keeps the output of programs. A log that cannot be written fails no stage; the run warns at its end.
pub(super) struct RunLogs {
    logs: Logs,
    session: u32,
    trouble: OnceLock<Diagnostic>,
}

/// The log of one attempt; none after a write failed.
pub(super) type Log = Mutex<Option<LogWriter>>;

impl RunLogs {
    /// `session` counts from 1.
    pub(super) fn new(logs: Logs, session: u32) -> Self {
        Self { logs, session, trouble: OnceLock::new() }
    }

    /// The log for an attempt at a stage or an instance, by its key.
    pub(super) fn begin(&self, key: &str, attempt: u32) -> Log {
        Mutex::new(Some(self.logs.begin(key, self.session, attempt)))
    }

    /// Adds a line. Its secrets are masked already. Called in the stage's thread, which reads the program's lines: a slow disk
    /// then slows the program down and never the dispatcher.
    pub(super) fn line(&self, log: &Log, stream: Stream, text: &str) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = log.as_mut() else { return };
        if let Err(error) = writer.write(stream, text) {
            let message = format!("what a program printed could not be kept in `{}`", writer.path().display());
            self.trouble.get_or_init(|| Diagnostic::warning(codes::TL0753, message).cause(&error));
            *log = None;
        }
    }

    /// The first error, if output was lost.
    pub(super) fn problem(&self) -> Option<Diagnostic> {
        self.trouble.get().cloned()
    }
}

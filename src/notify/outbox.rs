use std::sync::{Mutex, PoisonError};

use crate::diagnostic::Diagnostic;
use crate::open::database_error;
use crate::state::{DbError, Outbox, StateDir, Text};

/// The outbox of a state folder, opened at its first use. If it fails, messages are still sent; we warn once.
pub(crate) struct OutboxHandle {
    state: StateDir,
    opened: Mutex<Opened>,
    problem: Mutex<Trouble>,
}

enum Opened {
    NotYet,
    Open(Outbox),
    Broken,
}

#[derive(Default)]
enum Trouble {
    #[default]
    None,
    New(Diagnostic),
    Told,
}

impl OutboxHandle {
    pub(crate) fn new(state: StateDir) -> Self {
        Self { state, opened: Mutex::new(Opened::NotYet), problem: Mutex::default() }
    }

    /// The state folder.
    pub(super) fn state(&self) -> &StateDir {
        &self.state
    }

    /// Whether the outbox was ever used.
    pub(crate) fn is_in_use(&self) -> bool {
        self.state.has_outbox()
    }

    /// Calls `what` with the outbox. `None` if the outbox fails.
    pub(crate) fn with<T>(&self, what: impl FnOnce(&Outbox) -> Result<T, DbError>) -> Option<T> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*opened, Opened::NotYet) {
            *opened = match self.state.outbox() {
                Ok(outbox) => Opened::Open(outbox),
                Err(error) => {
                    self.note(&error);
                    Opened::Broken
                }
            };
        }
        let Opened::Open(outbox) = &*opened else { return None };
        what(outbox).inspect_err(|error| self.note(error)).ok()
    }

    /// Keeps the texts that a run starts with. A failure is a warning: it does not stop the run.
    pub(crate) fn keep_texts(&self, pipeline: &str, texts: &[Text]) {
        let Some((own, bases)) = texts.split_first() else { return };
        let kept = self.state.versions().and_then(|mut versions| versions.keep(pipeline, own, bases, true));
        if let Err(error) = kept {
            self.note(&error);
        }
    }

    /// Notes an error of the database for one warning.
    pub(crate) fn note(&self, error: &DbError) {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*problem, Trouble::None) {
            let mut diagnostic = database_error(error);
            diagnostic.severity = crate::diagnostic::Severity::Warning;
            *problem = Trouble::New(diagnostic);
        }
    }

    /// The noted error, at the first call after it was noted; else none.
    pub(crate) fn problem(&self) -> Option<Diagnostic> {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *problem) {
            Trouble::None => None,
            Trouble::New(diagnostic) => {
                *problem = Trouble::Told;
                Some(diagnostic)
            }
            Trouble::Told => {
                *problem = Trouble::Told;
                None
            }
        }
    }
}

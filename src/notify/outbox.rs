use std::sync::{Mutex, PoisonError};

use crate::diagnostic::Diagnostic;
use crate::open::database_error;
use crate::state::{DbError, Outbox, StateDir, Text};

/// The outbox of a state folder, opened when it is first needed. Where it does not work, messages are sent all the same,
/// and that is told once.
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

    /// Whether anything was ever put in.
    pub(crate) fn is_in_use(&self) -> bool {
        self.state.has_outbox()
    }

    /// Does something with the outbox; `None` where that does not work.
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

    /// Keeps the text that a run starts with. That this does not work is no reason not to start.
    pub(crate) fn keep_text(&self, pipeline: &str, text: &Text) {
        let kept = self.state.versions().and_then(|mut versions| versions.keep(pipeline, text, &[], true));
        if let Err(error) = kept {
            self.note(&error);
        }
    }

    /// Remembers what is wrong with the database, to be told once.
    pub(crate) fn note(&self, error: &DbError) {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*problem, Trouble::None) {
            let mut diagnostic = database_error(error);
            diagnostic.severity = crate::diagnostic::Severity::Warning;
            *problem = Trouble::New(diagnostic);
        }
    }

    /// What is wrong with the outbox, the first time it is asked.
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

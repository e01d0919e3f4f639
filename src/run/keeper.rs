use std::sync::{Mutex, PoisonError};

use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::state::{DbError, Outbox, StateDir, Text};

/// The outbox of a state folder, opened on first use. If it fails, messages are sent without it, and one warning says so.
pub(super) struct Keeper {
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

impl Keeper {
    pub(super) fn new(state: StateDir) -> Self {
        Self { state, opened: Mutex::new(Opened::NotYet), problem: Mutex::default() }
    }

    /// Whether a message was ever queued here.
    pub(super) fn is_in_use(&self) -> bool {
        self.state.has_outbox()
    }

    /// Calls `what` with the outbox; `None` if it failed.
    pub(super) fn with<T>(&self, what: impl FnOnce(&Outbox) -> Result<T, DbError>) -> Option<T> {
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
    pub(super) fn keep_texts(&self, pipeline: &str, texts: &[Text]) {
        let Some((own, bases)) = texts.split_first() else { return };
        let kept = self.state.versions().and_then(|mut versions| versions.keep(pipeline, own, bases, true));
        if let Err(error) = kept {
            self.note(&error);
        }
    }

    /// Remembers the first problem of the database, for one warning.
    pub(super) fn note(&self, error: &DbError) {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*problem, Trouble::None) {
            let mut diagnostic = database_error(error);
            diagnostic.severity = crate::diagnostic::Severity::Warning;
            *problem = Trouble::New(diagnostic);
        }
    }

    /// The problem, the first time it is asked for.
    pub(super) fn problem(&self) -> Option<Diagnostic> {
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

/// The diagnostic of a database error.
pub fn database_error(error: &DbError) -> Diagnostic {
    let (code, help) = match error {
        DbError::Newer { .. } => {
            (codes::TL0717, "use the release that wrote it, or name another state folder with `--state` or `TL_STATE`")
        }
        DbError::Damaged { .. } => (
            codes::TL0718,
            "move it away with its `-wal` and `-shm`: the next run begins a new one; messages that waited in it and old texts of \
             pipelines are lost",
        ),
        DbError::Io { .. } | DbError::Unusable { .. } => {
            (codes::TL0719, "make sure that the state folder is on a disk with room, and writable")
        }
    };
    let diagnostic = Diagnostic::new(code, Kind::Failure, error.to_string()).help(help);
    match std::error::Error::source(error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

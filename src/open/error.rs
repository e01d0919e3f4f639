//! Errors of state and audit log as diagnostics: their code, their exit code, and what to do.

use crate::audit;
use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::pipeline::{Document, Failure};
use crate::state::{self, DbError};

/// An expression that failed when it was evaluated.
pub(crate) fn unresolved(document: &Document, pointer: &str, failure: Failure) -> Diagnostic {
    let Failure { pointer: below, error } = failure;
    let place = document.inside(&format!("{pointer}{below}"), error.offset, error.length);
    let diagnostic = Diagnostic::failure(error.code, error.message).at(place);
    match error.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

/// No channel of the file has this name.
pub(crate) fn no_channel(name: &str) -> Diagnostic {
    Diagnostic::usage(codes::TL0403, format!("there is no channel `{name}`"))
}

/// The journal could not be written.
pub(crate) fn unwritten(error: &str) -> Diagnostic {
    let mut found = Diagnostic::failure(codes::TL0728, "the journal of the run could not be written");
    found.causes.push(error.to_owned());
    found.help("make room in the state folder; then `tl run --resume` goes on where this run stopped")
}

/// An error of the state folder.
pub(crate) fn state_error(error: &state::Error) -> Diagnostic {
    let diagnostic = Diagnostic::failure(codes::TL0707, error.to_string());
    let diagnostic = diagnostic.help("make room in the state folder, or name another one with `--state` or `TL_STATE`");
    match std::error::Error::source(error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

/// An error of the database in the state folder.
pub(crate) fn database_error(error: &DbError) -> Diagnostic {
    let (code, help) = match error {
        DbError::Newer { .. } => {
            (codes::TL0717, "install that release, or name another state folder with `--state` or `TL_STATE`")
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
    // Nothing runs beside the state of a later release: it would be neither resumed nor known.
    let kind = if matches!(error, DbError::Newer { .. }) { Kind::Usage } else { Kind::Failure };
    let diagnostic = Diagnostic::new(code, kind, error.to_string()).help(help);
    match std::error::Error::source(error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

/// An error of the audit log.
pub(crate) fn audit_error(error: &audit::Error) -> Diagnostic {
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

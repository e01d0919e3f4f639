//! Errors of state and audit log as diagnostics: their code, their exit code, and what to do.

use std::error::Error;
use std::{io, iter};

use rustix::io::Errno;

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
    let help = "make room in the state folder, or name another one with `--state` or `TL_STATE`";
    with_cause(Diagnostic::failure(codes::TL0707, error.to_string()).help(help), error)
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
    with_cause(Diagnostic::new(code, kind, error.to_string()).help(help), error)
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
    with_cause(Diagnostic::new(code, kind, error.to_string()).help(help), error)
}

/// Adds the cause, and other help where the file system of the state folder is unfit.
fn with_cause(found: Diagnostic, error: &(dyn Error + 'static)) -> Diagnostic {
    let found = match unfit_help(error) {
        Some(help) => found.help(help),
        None => found,
    };
    match error.source() {
        Some(source) => found.cause(source),
        None => found,
    }
}

/// What to do about a file system without locks, or one that is read-only.
fn unfit_help(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut causes = iter::successors(Some(error), |error| (*error).source());
    causes.find_map(|error| {
        let number = error.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
        let is_read_only = error.downcast_ref::<DbError>().is_some_and(DbError::is_read_only);
        match number {
            Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Some(NO_LOCKS),
            Some(Errno::ROFS) => Some(READ_ONLY),
            _ => is_read_only.then_some(READ_ONLY),
        }
    })
}

const NO_LOCKS: &str = "its file system has no locks, as some network shares have none: name a folder on a local disk by `--state` or \
                        `TL_STATE`";
const READ_ONLY: &str =
    "its disk is mounted read-only, as after an error of the disk: see the kernel's log, and mount it writable";

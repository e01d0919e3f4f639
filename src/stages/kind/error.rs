//! Turns the errors of the layers below into diagnostics with codes.

use crate::diagnostic::{Code, Diagnostic, Kind, codes};
use crate::value::CancelReason;
use crate::vault::RevealError;
use crate::{crypto, source, storage};

impl From<storage::Error> for Diagnostic {
    fn from(error: storage::Error) -> Self {
        let (code, kind, help) = about(&error);
        let diagnostic = Self::new(code, kind, error.to_string()).help(help).transient(error.is_transient());
        match &error {
            storage::Error::LeftOpen { error, .. } => diagnostic.cause_of(error.as_ref()),
            error => diagnostic.cause_of(error),
        }
    }
}

impl From<RevealError<Self>> for Diagnostic {
    fn from(error: RevealError<Self>) -> Self {
        match error {
            RevealError::Unrecorded(error) => error,
            // What a run needs is computed before it starts, from the same settings.
            RevealError::Unread(name) => {
                Self::usage(codes::TL0902, format!("the secret `{name}` was not read: please report it"))
            }
        }
    }
}

impl From<CancelReason> for Diagnostic {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::Requested => Self::new(codes::TL0601, Kind::Cancelled, "cancelled"),
            CancelReason::Sibling => Self::new(codes::TL0603, Kind::Cancelled, "another instance of this stage failed"),
            CancelReason::StageTimeout => {
                Self::new(codes::TL0602, Kind::TimedOut, "the stage ran longer than its `timeout`")
            }
            CancelReason::RunTimeout => {
                Self::new(codes::TL0602, Kind::TimedOut, "the run took longer than its `timeout`")
            }
        }
    }
}

/// Why a stage has no result.
#[derive(Debug)]
pub enum StageError {
    /// There was nothing to do, and why. The stage is skipped.
    NothingToDo(String),
    /// The stage failed.
    Failed(Diagnostic),
}

impl From<Diagnostic> for StageError {
    fn from(error: Diagnostic) -> Self {
        Self::Failed(error)
    }
}

impl From<storage::Error> for StageError {
    fn from(error: storage::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CancelReason> for StageError {
    fn from(reason: CancelReason) -> Self {
        Self::Failed(reason.into())
    }
}

/// The error of a stage whose warnings are failures.
pub fn fails_for_warning() -> Diagnostic {
    Diagnostic::failure(codes::TL0609, "this stage warned, and its `on-warning` says that it fails then")
}

/// Maps an error of a store to a code, an outcome and a help line.
fn about(error: &storage::Error) -> (Code, Kind, &'static str) {
    use storage::Error;
    match error {
        Error::LeftOpen { error, .. } => about(error),
        Error::Missing { .. } => {
            (codes::TL0630, Kind::Destination, "mount it, make the directory, or say `create: true` in the store")
        }
        Error::NoBucket { .. } => (
            codes::TL0658,
            Kind::Destination,
            "make the bucket, or correct `bucket`, `region` and `endpoint` of the store",
        ),
        Error::NoObject { .. } => (codes::TL0631, Kind::Destination, "look for its key in `tl audit show`"),
        Error::Foreign { .. } => (codes::TL0638, Kind::Failure, "find out who put it there"),
        Error::Exists { .. } => (
            codes::TL0632,
            Kind::Failure,
            "give the key a part that is new each time, such as ${{ run.id }}, or `overwrite: true`",
        ),
        Error::Changed { .. } => {
            (codes::TL0632, Kind::Failure, "another writer was faster: read the object again, then try again")
        }
        Error::NoPrecondition { .. } => {
            (codes::TL0647, Kind::Failure, "use a store that keeps conditions; `tl doctor FILE` tries it")
        }
        Error::Reserved { .. } => (codes::TL0637, Kind::Failure, "choose a key that does not end in `.sha256`"),
        Error::Denied { .. } => (codes::TL0633, Kind::Key, "check owner and mode, and as whom tl runs"),
        Error::Full { .. } => (codes::TL0634, Kind::Failure, "make room, then run again"),
        Error::Altered { .. } => (codes::TL0635, Kind::Failure, "check memory and disk of this machine"),
        Error::Source { .. } => (codes::TL0604, Kind::Failure, "see the stage that gives the data"),
        Error::Unreachable { .. } => {
            (codes::TL0645, Kind::Destination, "check `endpoint`, name service and network; `tl doctor FILE` tries it")
        }
        Error::Refused { .. } => {
            (codes::TL0646, Kind::Key, "check the credentials and what they may do; `tl doctor FILE` tries it")
        }
        Error::Answer { .. } => (codes::TL0647, Kind::Failure, "see what the store says above"),
        Error::Settings { help, .. } => (codes::TL0648, Kind::Failure, *help),
        Error::NoCredentials { .. } => {
            (codes::TL0654, Kind::Key, "give both in the store, or a `profile`, or neither and both in the environment")
        }
        Error::NoLock { .. } => {
            (codes::TL0649, Kind::Failure, "use a bucket that was made with object lock, or leave `object-lock` out")
        }
        Error::Unproven { .. } => {
            (codes::TL0655, Kind::Verification, "do not count on this object as it is: see what the store says of it")
        }
        Error::Truncated { .. } => (
            codes::TL0641,
            Kind::Verification,
            "the store lost a part of the object: take another copy, and deliver this one again",
        ),
        Error::Corrupt { .. } => (
            codes::TL0642,
            Kind::Verification,
            "the object, or its way here, is damaged: read it again, then take another copy",
        ),
        Error::Unrecorded { .. } => {
            (codes::TL0707, Kind::Failure, "make sure that the state folder is on a disk with room, and writable")
        }
        Error::Cancelled { .. } => (codes::TL0601, Kind::Cancelled, "run it again"),
        Error::Io { .. } => (codes::TL0636, Kind::Failure, "see what the system says above"),
    }
}

impl From<source::Error> for Diagnostic {
    fn from(error: source::Error) -> Self {
        let code = match error {
            source::Error::Missing(_) => codes::TL0610,
            source::Error::Bad { .. } | source::Error::Pattern { .. } => codes::TL0611,
            source::Error::Unreadable { .. } => codes::TL0612,
            source::Error::List { .. } => codes::TL0617,
        };
        let diagnostic = Self::failure(code, error.to_string());
        match std::error::Error::source(&error) {
            Some(source) => diagnostic.cause(source),
            None => diagnostic,
        }
    }
}

impl From<crypto::Error> for Diagnostic {
    fn from(error: crypto::Error) -> Self {
        if error.is_wrong_key() {
            return Self::new(codes::TL0622, Kind::Key, "none of the identities opens this file")
                .help("use an identity whose recipient it was sealed for; `tl key show FILE` prints the recipient");
        }
        match &error {
            crypto::Error::NoRecipients | crypto::Error::TooManyRecipients(_) => {
                Self::failure(codes::TL0620, error.to_string())
            }
            crypto::Error::OutOfMemory => Self::failure(codes::TL0624, error.to_string()),
            crypto::Error::Io(io) => {
                Self::failure(codes::TL0624, "the data could not be read or written to its end").cause(io)
            }
            _ => Self::failure(codes::TL0623, error.to_string()),
        }
    }
}

impl Diagnostic {
    /// Adds the causes of an error, but not the error itself: the message already says it.
    fn cause_of(self, error: &dyn std::error::Error) -> Self {
        match error.source() {
            Some(source) => self.cause(source),
            None => self,
        }
    }
}

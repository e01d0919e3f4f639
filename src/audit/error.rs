use std::io;
use std::path::{Path, PathBuf};

use super::{JsonError, Problem};

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What it was for.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process held the lock for too long.
    #[error("the audit log was busy for {seconds} s")]
    Busy {
        /// How long this one waited.
        seconds: u64,
    },
    /// The log is not as a writer left it. Nothing was written. [`super::accept()`] begins a new one.
    #[error("the audit log is damaged: {0}")]
    Damaged(Box<Problem>),
    /// A write could not be made durable, or could not be undone: what is on the disk is unknown. Open the log again.
    #[error("the audit log in `{}` cannot be trusted to be on the disk since an earlier failure", _0.display())]
    Poisoned(PathBuf),
    /// The thread that writes records ended.
    #[error("the audit log's recorder stopped")]
    Stopped,
    /// The signing key can be read by others.
    #[error("others can read the signing key `{}` (mode {mode:04o}, must be 0600)", path.display())]
    ExposedKey {
        /// Its file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The folder holds no log.
    #[error("there is no audit log in `{}`", .0.display())]
    Missing(PathBuf),
    /// A record's type is not lower-case words with dots between them.
    #[error("`{0}` is not a record type such as `run.started`")]
    Kind(String),
    /// A record's data has no canonical form.
    #[error("a record of type `{kind}` cannot be written")]
    Data {
        /// The record's type.
        kind: String,
        /// Why not.
        source: JsonError,
    },
    /// A record does not fit a line of 65,535 bytes.
    #[error("a record of type `{kind}` is {bytes} bytes long, more than 65535; its largest fields: {}", sizes(fields))]
    TooLong {
        /// The record's type.
        kind: String,
        /// Its length.
        bytes: usize,
        /// Its fields with their lengths, largest first.
        fields: Vec<(String, usize)>,
    },
    /// The log is healthy, and is not put aside.
    #[error("the audit log is not damaged: there is nothing to accept")]
    NotDamaged,
}

impl Error {
    /// For `map_err` behind a system call.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Damaged(Box::new(problem))
    }
}

fn sizes(fields: &[(String, usize)]) -> String {
    let sizes: Vec<String> = fields.iter().take(5).map(|(name, size)| format!("{name} {size}")).collect();
    sizes.join(", ")
}

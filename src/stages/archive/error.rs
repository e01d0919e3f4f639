use std::io;
use std::path::PathBuf;

/// Why there is no complete archive. What was written until then is worthless.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source does not exist.
    #[error("the source `{}` does not exist", .0.display())]
    MissingSource(PathBuf),
    /// A source that no archive should hold as it was given.
    #[error("the source `{}` {reason}", .path.display())]
    BadSource {
        /// As it was given.
        path: PathBuf,
        /// Completes the sentence "the source …".
        reason: String,
    },
    /// A source exists and cannot be read. Below a source this is a warning; a source itself is a promise.
    #[error("the source `{}` cannot be read", .path.display())]
    UnreadableSource {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An exclude pattern is not one.
    #[error("the exclude pattern `{pattern}` {reason}")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// Completes the sentence "the pattern …".
        reason: String,
    },
    /// The observer asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The output took no more bytes.
    #[error("the archive cannot be written")]
    Write(#[source] io::Error),
}

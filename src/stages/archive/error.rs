use std::io;
use std::path::PathBuf;

/// Why there is no complete archive. The output written so far is useless.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source does not exist.
    #[error("the source `{}` does not exist", .0.display())]
    MissingSource(PathBuf),
    /// A source that cannot be archived as given.
    #[error("the source `{}` {reason}", .path.display())]
    BadSource {
        /// The source as the user gave it.
        path: PathBuf,
        /// Completes the sentence "the source …".
        reason: String,
    },
    /// A source exists and cannot be read. An unreadable file below a source is only a warning; a source itself was
    /// promised.
    #[error("the source `{}` cannot be read", .path.display())]
    UnreadableSource {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// An exclude pattern is invalid.
    #[error("the exclude pattern `{pattern}` {reason}")]
    Pattern {
        /// The pattern as the user gave it.
        pattern: String,
        /// Completes the sentence "the pattern …".
        reason: String,
    },
    /// There is less than there must be.
    #[error("{0}")]
    TooLittle(String),
    /// The observer cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Writing to the output failed.
    #[error("the archive cannot be written")]
    Write(#[source] io::Error),
}

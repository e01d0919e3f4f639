use std::io;
use std::path::PathBuf;

/// Why nothing can be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source does not exist.
    #[error("the source `{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// A source that cannot be taken as given.
    #[error("the source `{}` {reason}", .path.display())]
    Bad {
        /// The source as the user gave it.
        path: PathBuf,
        /// Completes the sentence "the source …".
        reason: String,
    },
    /// A source exists and cannot be read. An unreadable file below a source is only a warning; a source itself was
    /// promised.
    #[error("the source `{}` cannot be read", .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A pattern is invalid.
    #[error("the pattern `{pattern}` of `{origin}` {reason}")]
    Pattern {
        /// The pattern as the user gave it.
        pattern: String,
        /// The setting or the file that holds it.
        origin: String,
        /// Completes the sentence "the pattern …".
        reason: String,
    },
    /// A file of patterns or of sources cannot be read.
    #[error("the list `{}` cannot be read", .path.display())]
    List {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

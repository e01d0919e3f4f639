use std::io;

use crate::source;

/// Why there is no complete archive. The output written so far is useless.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing can be taken.
    #[error(transparent)]
    Source(#[from] source::Error),
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

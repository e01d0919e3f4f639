use std::io;

use rustix::io::Errno;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store itself is not there.
    #[error("the store `{uri}` is not there")]
    Missing {
        /// Which store.
        uri: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No such object.
    #[error("there is no object `{uri}`")]
    NoObject {
        /// Which object.
        uri: String,
    },
    /// An object of that name is there, and was left alone.
    #[error("`{uri}` exists already and was left as it is")]
    Exists {
        /// Which object.
        uri: String,
    },
    /// Something else has its name, or the way to it leads through a link.
    #[error("`{uri}` is not an object of this store: a link, a folder or a device stands there")]
    Foreign {
        /// Which object.
        uri: String,
    },
    /// No permission.
    #[error("permission denied for `{uri}`")]
    Denied {
        /// What could not be used.
        uri: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No space, or no quota.
    #[error("no space is left for `{uri}`; nothing partial was kept")]
    Full {
        /// What could not be written.
        uri: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The bytes that arrived are not those that were sent.
    #[error("what was written to `{uri}` is not what the source gave; nothing was kept")]
    Altered {
        /// Which object.
        uri: String,
    },
    /// The source of the bytes failed, not the store.
    #[error("the data for `{uri}` ended early; nothing was kept")]
    Source {
        /// Which object.
        uri: String,
        /// What the source said.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("`{uri}` could not be used")]
    Io {
        /// What could not be used.
        uri: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The error that fits what the system said.
    pub fn from_io(uri: &str, source: io::Error) -> Self {
        let uri = uri.to_owned();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { uri, source },
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::Denied { uri, source },
            _ => Self::Io { uri, source },
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(
            Errno::from_io_error(source),
            Some(
                Errno::IO
                    | Errno::STALE
                    | Errno::TIMEDOUT
                    | Errno::BUSY
                    | Errno::AGAIN
                    | Errno::HOSTDOWN
                    | Errno::NETDOWN
            )
        )
    }
}

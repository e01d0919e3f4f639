use std::io;

use rustix::io::Errno;

/// The error of a layer below.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call of a store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of the store is missing.
    #[error("the store `{uri}` is not there")]
    Missing {
        /// Which store.
        uri: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The bucket is missing.
    #[error("there is no bucket for `{uri}`")]
    NoBucket {
        /// Which object.
        uri: String,
        /// The error of the server.
        #[source]
        source: BoxedError,
    },
    /// No such object.
    #[error("there is no object `{uri}`")]
    NoObject {
        /// Which object.
        uri: String,
    },
    /// There is an object of that name. It was left alone.
    #[error("`{uri}` exists already and was left as it is")]
    Exists {
        /// Which object.
        uri: String,
    },
    /// Something that is no object has its name, or its path leads through a link.
    #[error("`{uri}` is not an object of this store: a link, a folder or a device stands there")]
    Foreign {
        /// Which object.
        uri: String,
    },
    /// The store cannot be reached.
    #[error("`{uri}` cannot be reached")]
    Unreachable {
        /// What could not be reached.
        uri: String,
        /// The error of the system.
        #[source]
        source: BoxedError,
    },
    /// The store refused the credentials, or what they may do.
    #[error("{what} of `{uri}` was refused")]
    Refused {
        /// What was tried.
        what: String,
        /// Which object.
        uri: String,
        /// The error of the store.
        #[source]
        source: BoxedError,
    },
    /// The store answered with an error, or not as it should.
    #[error("{what} of `{uri}` failed")]
    Answer {
        /// What was tried.
        what: String,
        /// Which object.
        uri: String,
        /// Whether the same call may succeed a little later.
        transient: bool,
        /// The error of the store.
        #[source]
        source: BoxedError,
    },
    /// The settings cannot work.
    #[error("`{uri}`: {why}")]
    Settings {
        /// Which store.
        uri: String,
        /// Why.
        why: String,
        /// What to do.
        help: &'static str,
    },
    /// There are no credentials, or half of them.
    #[error("there are no credentials for `{uri}`: {why}")]
    NoCredentials {
        /// Which store.
        uri: String,
        /// Exactly what is missing.
        why: String,
    },
    /// The store cannot lock the object.
    #[error("`{uri}` cannot be protected from removal: {why}")]
    NoLock {
        /// Which object.
        uri: String,
        /// Why.
        why: String,
    },
    /// The object is there, but not as it was ordered.
    #[error("`{uri}` was delivered, but {why}")]
    Unproven {
        /// Which object.
        uri: String,
        /// What differs.
        why: String,
    },
    /// The store gave less of the object than it has by its own word.
    #[error("`{uri}` is truncated: {why}")]
    Truncated {
        /// Which object.
        uri: String,
        /// How much came.
        why: String,
    },
    /// The bytes that were read do not have the checksum that the store keeps.
    #[error("what `{uri}` gave is not what its store keeps the {checksum} of")]
    Corrupt {
        /// Which object.
        uri: String,
        /// Which checksum.
        checksum: String,
    },
    /// The upload failed, and its parts are still at the store.
    #[error("{error}; the multipart upload {upload} was left open: {why}")]
    LeftOpen {
        /// Why it failed.
        error: Box<Error>,
        /// The upload id.
        upload: String,
        /// Why it was not aborted.
        why: String,
    },
    /// The journal failed, which must hold the object before it appears.
    #[error("`{uri}` was not delivered: that could not be put on record first")]
    Unrecorded {
        /// Which object.
        uri: String,
        /// Why.
        #[source]
        source: BoxedError,
    },
    /// The object is not the one whose `ETag` the precondition names. It was left alone.
    #[error("`{uri}` was changed since it was read, and was left as it is")]
    Changed {
        /// Which object.
        uri: String,
    },
    /// The store does not keep preconditions of writes.
    #[error("`{uri}` cannot be written under a condition: {why}")]
    NoPrecondition {
        /// Which object.
        uri: String,
        /// Why.
        why: String,
    },
    /// Only deliveries write files of that name.
    #[error("`{uri}` has the name of a digest, which only a delivery writes")]
    Reserved {
        /// Which object.
        uri: String,
    },
    /// The caller has cancelled.
    #[error("the transfer of `{uri}` was stopped")]
    Cancelled {
        /// Which object.
        uri: String,
    },
    /// No permission.
    #[error("permission denied for `{uri}`")]
    Denied {
        /// What could not be used.
        uri: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// No space, or no quota.
    #[error("no space is left for `{uri}`; nothing partial was kept")]
    Full {
        /// What could not be written.
        uri: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The bytes that arrived are not those that were sent.
    #[error("what was written to `{uri}` is not what the source gave; nothing was kept")]
    Altered {
        /// Which object.
        uri: String,
    },
    /// The source of the bytes failed, and not the store.
    #[error("the data for `{uri}` ended early; nothing was kept")]
    Source {
        /// Which object.
        uri: String,
        /// The error of the source.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("`{uri}` could not be used")]
    Io {
        /// What could not be used.
        uri: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The error that fits what the system said.
    pub fn from_io(uri: &str, source: io::Error) -> Self {
        // A reader of a store wraps an error of this type.
        let source = match source.downcast::<Self>() {
            Ok(own) => return own,
            Err(source) => source,
        };
        let uri = uri.to_owned();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { uri, source },
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::Denied { uri, source },
            _ => Self::Io { uri, source },
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } => source,
            Self::Unreachable { .. } | Self::Altered { .. } => return true,
            Self::Answer { transient, .. } => return *transient,
            Self::LeftOpen { error, .. } => return error.is_transient(),
            _ => return false,
        };
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

/// An error and what caused it, on one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

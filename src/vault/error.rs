use std::time::Duration;

use crate::crypto::{self, IdentityFileError};
use crate::value::CancelReason;

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such variable, file or credential.
    #[error("{place} is missing")]
    Missing {
        /// The source, in words.
        place: String,
    },
    /// It is not UTF-8 text, or is longer than a secret may be.
    #[error("{place} does not hold a text")]
    NotText {
        /// The source, in words.
        place: String,
    },
    /// It holds a NUL byte, which no environment variable and no argument can hold.
    #[error("{place} holds a NUL byte")]
    Nul {
        /// The source, in words.
        place: String,
    },
    /// It is empty.
    #[error("{place} is empty")]
    Empty {
        /// The source, in words.
        place: String,
    },
    /// It could not be read.
    #[error("{place} could not be read")]
    Io {
        /// The source, in words.
        place: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// No service manager gave credentials to tl, and the secret has no `path`.
    #[error("{place} is missing: `$CREDENTIALS_DIRECTORY` is not set, and the secret has no `path`")]
    NoCredentials {
        /// The source, in words.
        place: String,
    },
    /// A program could not be started.
    #[error("`{program}` could not be started")]
    Start {
        /// Its name.
        program: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// It failed.
    #[error("`{program}` ended with {status}{said}")]
    Ended {
        /// Its name.
        program: String,
        /// Its exit code or signal.
        status: String,
        /// A colon and its last lines on standard error, if any.
        said: String,
    },
    /// It reached its time limit.
    #[error("`{program}` did not end within {} and was killed", crate::value::Duration::new(*limit))]
    Late {
        /// Its name.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// The read was cancelled.
    #[error("`{program}` was killed")]
    Cancelled {
        /// Its name.
        program: String,
        /// Why.
        reason: CancelReason,
    },
    /// It printed more than a secret may have.
    #[error("`{program}` printed more than 64 KiB")]
    TooMuch {
        /// Its name.
        program: String,
    },
    /// The identity cannot be used.
    #[error("the identity cannot be used")]
    Identity(#[source] IdentityFileError),
    /// The value was sealed for another recipient.
    #[error("the identity in `{identity}` does not open it")]
    WrongIdentity {
        /// The file of the identity.
        identity: String,
        /// The error of the decryption.
        #[source]
        source: crypto::Error,
    },
    /// The sealed value is not an armored age file, or was changed.
    #[error("its `value` is damaged")]
    Damaged(#[source] crypto::Error),
}

/// What to do about a NUL byte in a secret.
pub const WITHOUT_NUL: &str = "write a key of bytes as text, such as base64";

impl Error {
    /// What to do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. }
            | Self::NotText { .. }
            | Self::Empty { .. }
            | Self::Io { .. }
            | Self::Cancelled { .. } => None,
            Self::Start { .. } => Some("is it installed, in PATH, and executable for the user that tl runs as?"),
            Self::Ended { .. } => Some("it gets PATH, HOME, TZ, LANG and TMPDIR of the environment, and no input"),
            Self::Late { .. } => Some("it must not wait for anybody; else give the secret a longer `timeout`"),
            Self::TooMuch { .. } => Some("a secret is a key or a password: let the program print that alone"),
            Self::Damaged(_) => Some("seal the value again: `tl secret seal` prints what to paste"),
            Self::WrongIdentity { .. } => Some("name the identity it was sealed for, or seal the value again"),
            Self::NoCredentials { .. } => {
                Some("let the unit name it by `LoadCredentialEncrypted=`, or give the secret a `path`")
            }
            Self::Nul { .. } => Some(WITHOUT_NUL),
            Self::Identity(_) => Some("`tl key show FILE` tries it; an identity is for its owner's eyes only"),
        }
    }
}

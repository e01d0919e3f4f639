use std::time::Duration;

use crate::crypto::{self, IdentityFileError};

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("{place} is missing")]
    Missing {
        /// Where it was looked for.
        place: String,
    },
    /// Something is there that is no text.
    #[error("{place} does not hold a text")]
    NotText {
        /// Where it was looked for.
        place: String,
    },
    /// A NUL byte is in it: no variable of an environment and no argument can hold one.
    #[error("{place} holds a NUL byte")]
    Nul {
        /// Where it was looked for.
        place: String,
    },
    /// Nothing is in it.
    #[error("{place} is empty")]
    Empty {
        /// Where it was looked for.
        place: String,
    },
    /// It could not be read.
    #[error("{place} could not be read")]
    Io {
        /// Where it was looked for.
        place: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No service manager gave credentials to tl, and no other way is named.
    #[error("{place} is missing: `$CREDENTIALS_DIRECTORY` is not set, and the secret has no `path`")]
    NoCredentials {
        /// Where it was looked for.
        place: String,
    },
    /// A program could not be started.
    #[error("`{program}` could not be started")]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended, and not well.
    #[error("`{program}` ended with {status}{said}")]
    Ended {
        /// Its name.
        program: String,
        /// Its exit code or signal.
        status: String,
        /// What it said on standard error, behind a colon.
        said: String,
    },
    /// It did not end.
    #[error("`{program}` did not end within {} and was killed", crate::value::Duration::new(*limit))]
    Late {
        /// Its name.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// It was not wanted any more.
    #[error("`{program}` was killed")]
    Stopped {
        /// Its name.
        program: String,
    },
    /// It printed more than a secret has.
    #[error("`{program}` printed more than 64 KiB")]
    TooMuch {
        /// Its name.
        program: String,
    },
    /// The identity cannot be used.
    #[error("the identity cannot be used")]
    Identity(#[source] IdentityFileError),
    /// The sealed text was sealed for somebody else.
    #[error("the identity in `{identity}` does not open it")]
    WrongIdentity {
        /// The file of the identity.
        identity: String,
        /// What the cryptography said.
        #[source]
        source: crypto::Error,
    },
    /// The sealed text is no such text, or is not as it was written.
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
            | Self::Stopped { .. } => None,
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

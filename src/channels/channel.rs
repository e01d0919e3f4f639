use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::value::Unfit;

/// A message to people. Its texts are masked already.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// Identifies the message. All attempts to deliver it have the same id.
    pub id: String,
    /// RFC 3339, UTC.
    pub time: String,
    /// The occasion, such as `failure`.
    pub when: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's id.
    pub run: String,
    /// What the host is called; empty in the message of an earlier release.
    #[serde(default)]
    pub host: String,
    /// Whether it is about a run that counts as a success. A monitor must not take another one for a success.
    #[serde(default)]
    pub counts: bool,
    /// One line of text.
    pub subject: String,
    /// The text.
    pub body: String,
    /// The body as HTML, for channels that show it.
    pub html: Option<String>,
    /// The folder of the pipeline file, in which programs start. The outbox does not store it: it has the path of the
    /// file.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Message {
    /// What the message is about, the same for each message of a pipeline on a host. Receivers group by it: the success of one
    /// host must not end the incident of another.
    pub(super) fn group(&self) -> String {
        if self.host.is_empty() { self.pipeline.clone() } else { format!("{}@{}", self.pipeline, self.host) }
    }
}

/// Why a message was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written.
    #[error("the message could not be written to `{path}`")]
    Write {
        /// Which file.
        path: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The program could not be started.
    #[error("`{program}` could not be started")]
    Start {
        /// The program.
        program: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The program failed or ran too long.
    #[error("`{program}` did not take the message: {how}")]
    Refused {
        /// The program.
        program: String,
        /// How it ended.
        how: String,
    },
    /// The settings or the message do not suit this receiver.
    #[error("{reason}")]
    Unfit {
        /// Why.
        reason: String,
    },
    /// The receiver's address is not public, and `allow-private` is off.
    #[error("{place} is a private address: `allow-private: true` permits it")]
    Private {
        /// Scheme and host.
        place: String,
    },
    /// No connection, or no answer in time.
    #[error("{place} could not be told: {reason}")]
    Unreachable {
        /// Scheme and host.
        place: String,
        /// What happened.
        reason: String,
    },
    /// A non-2xx response.
    #[error("{place} answered {status}{answer}")]
    Answered {
        /// Scheme and host.
        place: String,
        /// The status.
        status: u16,
        /// The beginning of its body, masked.
        answer: String,
        /// Its `Retry-After`.
        after: Option<Duration>,
    },
    /// A 2xx response whose body says that the message was not taken.
    #[error("{place} answered {status}, but did not take the message{answer}")]
    NotTaken {
        /// Scheme and host.
        place: String,
        /// The status.
        status: u16,
        /// The beginning of its body, masked.
        answer: String,
    },
    /// The mail server refused the message.
    #[error("{place} replied {code} {text}")]
    Replied {
        /// The host.
        place: String,
        /// The reply's code.
        code: u16,
        /// Its text, masked.
        text: String,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            // A full disk or a failed program may work again soon. A service that lies about its status does so when it is busy, too.
            Self::Write { .. }
            | Self::Start { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::NotTaken { .. } => true,
            Self::Unfit { .. } | Self::Private { .. } => false,
            Self::Answered { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Replied { code, .. } => (400..500).contains(code),
        }
    }

    /// The `Retry-After` of the receiver.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { after, .. } => *after,
            _ => None,
        }
    }
}

/// A way to send a message. Its calls block.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Delivers a message. Returns the evidence in a few words, such as `250 queued`.
    fn deliver(&self, message: &Message) -> Result<String, Error>;

    /// Tries as much as it can without sending a message. Returns what it found, in a few words.
    fn probe(&self) -> Result<String, Error>;

    /// Checks settings beyond what the schema can express, without contacting anything. The reasons contain no secret.
    fn check(&self) -> Vec<Unfit<String>> {
        Vec::new()
    }
}

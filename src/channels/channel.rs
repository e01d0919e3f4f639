use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};

use super::services::{Discord, Gotify, Healthchecks, Ntfy, PagerDuty, Pushover, Slack, Teams, UptimeKuma};
use super::{Command, Desktop, Email, MessageFile, Webhook};
use crate::value::{Kind, kept_schema_of};

/// Every kind of channel.
pub static KINDS: &[Kind<dyn Channel>] = &[
    kind::<MessageFile>("file"),
    kind::<Command>("command"),
    kind::<Webhook>("webhook"),
    kind::<Email>("email"),
    kind::<Desktop>("desktop"),
    kind::<Slack>("slack"),
    kind::<Discord>("discord"),
    kind::<Teams>("teams"),
    kind::<Ntfy>("ntfy"),
    kind::<Gotify>("gotify"),
    kind::<Pushover>("pushover"),
    kind::<PagerDuty>("pagerduty"),
    kind::<Healthchecks>("healthchecks"),
    kind::<UptimeKuma>("uptime-kuma"),
];

const fn kind<K: Channel + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Channel> {
    Kind {
        name,
        schema: kept_schema_of::<K>,
        build: |settings| {
            let channel = serde_json::from_value::<K>(settings)?;
            channel.check().map_err(serde_json::Error::custom)?;
            Ok(Box::new(channel))
        },
    }
}

/// What is told. No field holds a secret: everything was masked before.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// The same for each attempt to deliver the same message.
    pub id: String,
    /// RFC 3339, UTC.
    pub time: String,
    /// Why it is sent, such as `failure`.
    pub when: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's id.
    pub run: String,
    /// One line.
    pub subject: String,
    /// The text.
    pub body: String,
    /// The same as HTML, where a channel can show it.
    pub html: Option<String>,
    /// The folder of the pipeline file, where programs run. Not part of what is kept: it is that of the file.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Why a message was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written.
    #[error("the message could not be written to `{path}`")]
    Write {
        /// Which file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The program could not be started.
    #[error("`{program}` could not be started")]
    Start {
        /// Which program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The program did not take it.
    #[error("`{program}` did not take the message: {how}")]
    Refused {
        /// Which program.
        program: String,
        /// How it ended.
        how: String,
    },
    /// The message could not be made, or is none for this receiver.
    #[error("{reason}")]
    Unfit {
        /// Why.
        reason: String,
    },
    /// The receiver's address is not one of the public internet.
    #[error("{place} is a private address: `allow-private: true` permits it")]
    Private {
        /// Scheme and host.
        place: String,
    },
    /// There was no connection, or no answer.
    #[error("{place} could not be told: {reason}")]
    Unreachable {
        /// Scheme and host.
        place: String,
        /// What happened.
        reason: String,
    },
    /// An HTTP answer that is none of success.
    #[error("{place} answered {status}{answer}")]
    Answered {
        /// Scheme and host.
        place: String,
        /// The status.
        status: u16,
        /// The beginning of what it said.
        answer: String,
        /// How long it asked to be left alone.
        after: Option<Duration>,
    },
    /// An SMTP server did not take the message.
    #[error("{place} replied {code} {text}")]
    Replied {
        /// The host.
        place: String,
        /// The reply's code.
        code: u16,
        /// What it said.
        text: String,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            // A disk that was full, a program that another one waited for: nobody can know.
            Self::Write { .. } | Self::Start { .. } | Self::Refused { .. } | Self::Unreachable { .. } => true,
            Self::Unfit { .. } | Self::Private { .. } => false,
            Self::Answered { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Replied { code, .. } => (400..500).contains(code),
        }
    }

    /// How long the receiver asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { after, .. } => *after,
            _ => None,
        }
    }
}

/// A way to tell somebody. Its calls block.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Delivers a message; returns how delivery is known, in a few words.
    fn deliver(&self, message: &Message) -> Result<String, Error>;

    /// Finds out whether a message could be delivered, without sending one; returns what was found, in a few words.
    fn probe(&self) -> Result<String, Error>;

    /// What is wrong with the settings, beyond their schema. The answer holds no secret.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

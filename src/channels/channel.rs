use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Command, MessageFile};
use crate::value::{Kind, schema_of};

/// Every kind of channel.
pub static KINDS: &[Kind<dyn Channel>] = &[kind::<MessageFile>("file"), kind::<Command>("command")];

const fn kind<K: Channel + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Channel> {
    Kind { name, schema: schema_of::<K>, build: |settings| Ok(Box::new(serde_json::from_value::<K>(settings)?)) }
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
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        true
    }

    /// How long the receiver asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// A way to tell somebody. Its calls block.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Delivers a message; returns how delivery is known, in a few words.
    fn deliver(&self, message: &Message) -> Result<String, Error>;
}

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, flock};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Channel, Error, Message};
use crate::value::FilePath;

/// A file that messages are appended to, made with mode 0600.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MessageFile {
    /// The file.
    path: FilePath,
    /// How each message is written.
    #[serde(default)]
    format: Format,
}

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Format {
    /// One JSON object on one line.
    #[default]
    Json,
    /// Subject, body, and an empty line.
    Text,
}

impl Channel for MessageFile {
    fn deliver(&self, message: &Message) -> Result<String, Error> {
        self.append(message)
            .map(|length| format!("{length} bytes appended"))
            .map_err(|source| Error::Write { path: self.path.as_path().display().to_string(), source })
    }
}

impl MessageFile {
    fn append(&self, message: &Message) -> io::Result<usize> {
        let text = match self.format {
            Format::Json => {
                let Message { id, time, when, pipeline, run, subject, body, .. } = message;
                let line = json!({
                    "id": id, "time": time, "when": when, "pipeline": pipeline, "run": run,
                    "subject": subject, "body": body,
                });
                format!("{line}\n")
            }
            Format::Text => format!("{}\n{}\n\n", message.subject, message.body.trim_end()),
        };
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path.as_path())?;
        // Two runs may tell the same file at once, and a message is longer than what the system writes as one.
        flock(&file, FlockOperation::LockExclusive)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        Ok(text.len())
    }
}

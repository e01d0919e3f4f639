use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, OFlags, access, flock};
use rustix::io::Errno;
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

    fn probe(&self) -> Result<String, Error> {
        let path = self.path.as_path();
        let failed = |source| Error::Write { path: path.display().to_string(), source };
        if path.exists() {
            return self.open().map(|_| "it can be appended to".to_owned()).map_err(failed);
        }
        let folder = path.parent().unwrap_or(path);
        access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| failed(errno.into()))?;
        Ok("it is not there yet, and can be made".to_owned())
    }
}

/// Another process holds the lock only while it writes one message.
const LONGEST_LOCK: Duration = Duration::from_secs(10);

fn lock(file: &File) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < LONGEST_LOCK => thread::sleep(Duration::from_millis(20)),
            other => return other.map_err(io::Error::from),
        }
    }
}

impl MessageFile {
    fn open(&self) -> io::Result<File> {
        // Do not block: a FIFO without a reader must not hold up the end of a run.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).custom_flags(flags).open(self.path.as_path())?;
        if file.metadata()?.file_type().is_fifo() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a FIFO cannot keep a message"));
        }
        Ok(file)
    }

    fn append(&self, message: &Message) -> io::Result<usize> {
        let text = match self.format {
            Format::Json => {
                let Message { id, time, when, pipeline, run, host, subject, body, .. } = message;
                let line = json!({
                    "id": id, "time": time, "when": when, "pipeline": pipeline, "run": run, "host": host,
                    "subject": subject, "body": body,
                });
                format!("{line}\n")
            }
            Format::Text => format!("{}\n{}\n\n", message.subject, message.body.trim_end()),
        };
        let mut file = self.open()?;
        // Two runs may write at the same time, and a message can be longer than one atomic write.
        lock(&file)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        Ok(text.len())
    }
}

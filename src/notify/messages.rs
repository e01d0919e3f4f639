//! The commands about messages: test a channel, flush the outbox, list it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Zoned;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use ulid::Ulid;

use super::drain::{self, Drain, Drained};
use super::outbox::OutboxHandle;
use crate::audit::Log;
use crate::channels::Message;
use crate::diagnostic::{Diagnostic, codes};
use crate::open::{
    Contexts, LogRecorder, audit_error, database_error, load, no_channel, open_channel, read_needed, run_values,
    secrets_of_channel,
};
use crate::stages::Recorder as _;
use crate::state::{OutboxEntry, StateDir};
use crate::value::{Cancel, Masker, Name};

/// The result of a test message on one channel.
#[derive(Debug, Serialize)]
pub(crate) struct Tested {
    /// The channel.
    pub channel: String,
    /// The channel's answer, if it was delivered.
    pub delivered: Option<String>,
    /// Why it was not delivered.
    pub error: Option<Diagnostic>,
}

/// Sends a test message to each channel of a file, or to one. Test messages are neither kept in the outbox nor recorded.
pub(crate) fn test(
    path: &Path,
    given: &BTreeMap<String, String>,
    only: Option<&str>,
) -> Result<Vec<Tested>, Vec<Diagnostic>> {
    let loaded = load(path, given)?;
    if let Some(name) = only
        && !loaded.pipeline.channels.keys().any(|other| other.as_str() == name)
    {
        return Err(vec![no_channel(name)]);
    }
    let id = Ulid::new().to_string();
    let names = loaded.pipeline.channels.keys().map(Name::as_str).filter(|name| only.is_none_or(|only| only == *name));
    let needed = names.clone().flat_map(|name| secrets_of_channel(&loaded, name)).collect();
    let secrets = read_needed(&loaded.document, &loaded.pipeline, &needed, &Cancel::default());
    let pipeline = loaded.pipeline.name.to_string();
    let contexts = Contexts::new(&loaded, &secrets.known, run_values(&pipeline, &id, &Zoned::now()));
    let host = loaded.pipeline.host();
    let message = Message {
        id: format!("{id}.test"),
        time: jiff::Timestamp::now().to_string(),
        when: "test".to_owned(),
        subject: format!("\u{1f514} {pipeline}: a test message from {host}"),
        host,
        counts: false,
        body: "Nothing happened. Messages of runs come this way.\n".to_owned(),
        html: Some("<p>Nothing happened. Messages of runs come this way.</p>\n".to_owned()),
        pipeline,
        run: id,
        folder: loaded.document.folder().to_owned(),
    };
    let send = |name: &str| {
        let failed = || Diagnostic::failure(codes::TL0670, format!("the message to `{name}` was not delivered"));
        let result = match open_channel(&loaded, &contexts, name, None) {
            Ok(channel) => channel.deliver(&message).map_err(|error| failed().cause(&error)),
            Err(error) => {
                let mut failed = failed();
                failed.causes.extend(secrets.missing_or(error).iter().map(Diagnostic::one_line));
                Err(failed)
            }
        };
        let mask = |text: &str| secrets.masker().mask(text);
        let (delivered, mut error) = match result {
            Ok(how) => (Some(mask(&how)), None),
            Err(error) => (None, Some(error)),
        };
        if let Some(error) = &mut error {
            error.mask(&mask);
        }
        Tested { channel: name.to_owned(), delivered, error }
    };
    Ok(names.map(send).collect())
}

/// One attempt to deliver a pending message.
#[derive(Debug, Serialize)]
pub(crate) struct Tried {
    /// Its id, the same for every attempt.
    pub id: String,
    /// The channel's name.
    pub channel: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// Its subject.
    pub subject: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The channel's answer, if it was delivered.
    pub delivered: Option<String>,
    /// Why it was not delivered.
    pub error: Option<Diagnostic>,
}

/// The result of flushing the outbox.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Flushed {
    /// The messages that were tried.
    pub tried: Vec<Tried>,
    /// The number of due messages that were not tried.
    pub left: usize,
    /// Problems, such as channels that cannot be opened.
    pub problems: Vec<Diagnostic>,
}

impl Flushed {
    /// Whether a message was not delivered, or there is a problem.
    pub(crate) fn is_lacking(&self) -> bool {
        self.left > 0 || !self.problems.is_empty() || self.tried.iter().any(|tried| tried.error.is_some())
    }
}

/// Sends the due messages in the outbox; with `all`, also those scheduled later or given up.
pub(crate) fn flush(state: &StateDir, all: bool) -> Result<Flushed, Vec<Diagnostic>> {
    let mut flushed = Flushed::default();
    if !state.has_outbox() {
        return Ok(flushed);
    }
    // Opened before anything is sent: unlike in a run, a broken outbox fails this command.
    drop(state.outbox().map_err(|error| vec![database_error(&error)])?);
    let log = Log::open(&state.audit()).map_err(|error| vec![audit_error(&error)])?;
    let recorder = LogRecorder::new(log, None, Masker::default());
    let outbox = OutboxHandle::new(state.clone());
    let drain = Drain { outbox: &outbox, recorder: &recorder, all, limit: None, cancel: &Cancel::default() };
    flushed.left = drain.run(&mut |drained| match drained {
        Drained::Problem(problem) => flushed.problems.push(problem),
        Drained::Tried(tried) => {
            let drain::Tried { message, channel, attempts, result } = *tried;
            let (delivered, error) = match result {
                Ok(how) => (Some(how), None),
                Err(error) => (None, Some(error)),
            };
            flushed.tried.push(Tried {
                id: message.id,
                channel,
                pipeline: message.pipeline,
                subject: message.subject,
                attempt: attempts,
                delivered,
                error,
            });
        }
    });
    flushed.problems.extend(outbox.problem());
    if !flushed.tried.is_empty() {
        recorder.checkpoint().map_err(|error| vec![error])?;
    }
    Ok(flushed)
}

/// All messages in the outbox, oldest first.
pub(crate) fn list(state: &StateDir) -> Result<Vec<Map<String, Json>>, Vec<Diagnostic>> {
    if !state.has_outbox() {
        return Ok(Vec::new());
    }
    let entries = state.outbox().and_then(|outbox| outbox.list()).map_err(|error| vec![database_error(&error)])?;
    Ok(entries.iter().map(shown).collect())
}

fn shown(entry: &OutboxEntry) -> Map<String, Json> {
    let message: Json = serde_json::from_str(&entry.message.content).unwrap_or_default();
    let is_pending = entry.state == crate::state::MessageState::Pending;
    let shown = json!({
        "id": entry.message.id,
        "channel": entry.message.channel,
        "pipeline": entry.message.pipeline,
        "file": entry.message.file.to_string_lossy(),
        "state": entry.state.word(),
        "created": entry.created,
        "attempts": entry.attempts,
        "next_at": is_pending.then_some(&entry.next_at),
        "delivered_at": entry.delivered_at,
        "answer": entry.answer,
        "last_error": entry.last_error,
        "when": message["when"],
        "subject": message["subject"],
    });
    shown.as_object().cloned().unwrap_or_default()
}

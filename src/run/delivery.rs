use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};
use tracing::debug;

use super::keeper::Keeper;
use super::prepare::{Channels, no_channel};
use crate::audit::{Record, SentMessage};
use crate::channels::{Channel, Message};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::stages::{Post, Recorder};
use crate::state::{Attempt, Entry, Letter, LetterState, backoff};
use crate::value::{Masker, human_duration};

/// The post of a run. A message is in the outbox, on the disk, before it is sent, and stays in it until it was taken.
pub(super) struct RunPost {
    pub(super) channels: Channels,
    pub(super) keeper: Keeper,
    pub(super) recorder: Arc<dyn Recorder>,
    pub(super) masker: Masker,
    /// The pipeline file, absolute.
    pub(super) file: PathBuf,
    /// The inputs of the run: with them a channel can be opened again.
    pub(super) inputs: Map<String, Json>,
}

/// What the outbox says of a message that is to be sent.
enum Put {
    Claimed(Box<Entry>),
    Delivered(String),
    Taken,
}

impl Post for RunPost {
    fn deliver(&self, channel: &str, message: &Message) -> Result<String> {
        let target = self.channels.get(channel).ok_or_else(|| no_channel(channel))?;
        let letter = letter(channel, message, &self.file, &self.inputs, &self.masker);
        let put = self.keeper.with(|outbox| {
            let entry = outbox.put(&letter)?;
            if entry.state == LetterState::Delivered {
                return Ok(Put::Delivered(entry.answer.unwrap_or_default()));
            }
            Ok(outbox.claim(&entry)?.map_or(Put::Taken, |entry| Put::Claimed(Box::new(entry))))
        });
        let sending = |entry| Sending { keeper: &self.keeper, recorder: &*self.recorder, masker: &self.masker, entry };
        let target = target.as_ref().map(Box::as_ref);
        match put {
            Some(Put::Delivered(answer)) => Ok(answer),
            Some(Put::Taken) => Err(Diagnostic::failure(
                codes::TL0672,
                format!("another process is sending this message to `{channel}`"),
            )
            .transient(true)),
            Some(Put::Claimed(entry)) => sending(Some(&entry)).attempt(target, channel, message),
            // Better told without a memory of it than not told.
            None => sending(None).attempt(target, channel, message),
        }
    }
}

/// A message as the outbox keeps it.
pub(super) fn letter(
    channel: &str,
    message: &Message,
    file: &Path,
    inputs: &Map<String, Json>,
    masker: &Masker,
) -> Letter {
    let mut inputs = Json::Object(inputs.clone());
    masker.mask_json(&mut inputs);
    Letter {
        id: message.id.clone(),
        channel: channel.to_owned(),
        pipeline: message.pipeline.clone(),
        file: file.to_owned(),
        inputs: inputs.to_string(),
        message: serde_json::to_string(message).expect("texts are written as JSON"),
    }
}

/// All that an attempt needs beside the channel and the message.
pub(super) struct Sending<'a> {
    pub(super) keeper: &'a Keeper,
    pub(super) recorder: &'a dyn Recorder,
    pub(super) masker: &'a Masker,
    /// The claimed entry; none where there is no outbox.
    pub(super) entry: Option<&'a Entry>,
}

impl Sending<'_> {
    /// Sends a message once, notes in the outbox what came of it, and puts it on record.
    pub(super) fn attempt(
        &self,
        target: Result<&dyn Channel, &Diagnostic>,
        channel: &str,
        message: &Message,
    ) -> Result<String> {
        let failed = || Diagnostic::failure(codes::TL0670, format!("the message to `{channel}` was not delivered"));
        let attempts = self.entry.map_or(1, |entry| entry.attempts);
        let (result, after) = match target.map(|target| target.deliver(message)) {
            Ok(Ok(answer)) => (Ok(self.masker.mask(&answer)), None),
            Ok(Err(error)) => {
                let after = again(attempts, error.is_transient(), error.retry_after());
                let mut diagnostic = failed().cause(&error).help(self.outlook(after, error.is_transient()));
                diagnostic.mask(&|text| self.masker.mask(text));
                (Err(diagnostic), after)
            }
            // What it wants may be there next time.
            Err(unopened) => {
                let after = backoff(attempts, None, fastrand::f64());
                let mut diagnostic = failed().help(self.outlook(after, true));
                diagnostic.causes.push(unopened.one_line());
                (Err(diagnostic), after)
            }
        };
        if let Some(entry) = self.entry {
            let attempt = match &result {
                Ok(answer) => Attempt::Delivered { answer: answer.clone() },
                Err(error) => Attempt::Failed { error: error.one_line(), after },
            };
            // Where this fails, it is sent again, with the same id; the keeper has noted why.
            let _noted = self.keeper.with(|outbox| outbox.settle(entry, &attempt));
        }
        debug!(channel, when = message.when, attempts, delivered = result.is_ok(), "message");
        self.record(channel, message, attempts, &result, after)?;
        result
    }

    /// What becomes of a message that was not delivered.
    fn outlook(&self, after: Option<Duration>, transient: bool) -> String {
        match after {
            _ if self.entry.is_none() => "it is not kept, and not tried again".to_owned(),
            Some(after) => {
                let after = human_duration(after.as_secs() as f64);
                format!("it is kept: after {after}, the next run or `tl notify flush` tries again")
            }
            None if transient => {
                "that was the last attempt: see `tl notify list`, and try again with `tl notify flush --all`".to_owned()
            }
            None => "another attempt would fail like this one, so none is made: mend it, then `tl notify flush --all`"
                .to_owned(),
        }
    }

    fn record(
        &self,
        channel: &str,
        message: &Message,
        attempt: u32,
        result: &Result<String>,
        after: Option<Duration>,
    ) -> Result<()> {
        let sent = |how| SentMessage {
            channel: channel.to_owned(),
            id: message.id.clone(),
            when: message.when.clone(),
            attempt,
            how,
        };
        self.recorder.record(match result {
            Ok(how) => Record::NotifyDelivered(sent(how.clone())),
            Err(error) => {
                let again = after.is_some() && self.entry.is_some();
                Record::NotifyFailed { message: sent(error.one_line()), again }
            }
        })
    }
}

/// How long until the next attempt, if there is to be one. What would fail in the same way is not tried again.
fn again(attempts: u32, transient: bool, asked: Option<Duration>) -> Option<Duration> {
    transient.then(|| backoff(attempts, asked, fastrand::f64())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_succeed_later_is_tried_again() {
        let minute = Duration::from_mins(1);
        assert_eq!(again(1, false, None), None);
        assert_eq!(again(1, false, Some(minute)), None);
        assert!(again(1, true, None).is_some_and(|after| after < minute));
        assert!(again(1, true, Some(minute)).is_some_and(|after| after >= minute), "the receiver asked for it");
        assert_eq!(again(10, true, None), None);
    }
}

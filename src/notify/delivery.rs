use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};
use tracing::debug;

use super::outbox::OutboxHandle;
use crate::audit::{Record, SentMessage};
use crate::channels::{Channel, Message};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::open::{Channels, no_channel};
use crate::stages::{Notifier, Recorder};
use crate::state::{Attempt, MessageState, OutboxEntry, OutboxMessage, backoff};
use crate::value::{Masker, human_duration};

/// Sends the messages of a run. A message is in the outbox, synced, before it is sent, and stays pending until a channel has
/// accepted it: a crash sends it again with the same id, and loses none.
pub(crate) struct RunNotifier {
    pub(crate) channels: Channels,
    pub(crate) outbox: OutboxHandle,
    pub(crate) recorder: Arc<dyn Recorder>,
    pub(crate) masker: Masker,
    /// The pipeline file, absolute.
    pub(crate) file: PathBuf,
    /// The inputs of the run. A later process needs them to open the channel again.
    pub(crate) inputs: Map<String, Json>,
}

impl RunNotifier {
    /// Whether the outbox has a message that was not delivered.
    pub(super) fn is_kept(&self, channel: &str, message: &Message) -> bool {
        let kept = self.outbox.with(|outbox| outbox.put(&self.letter(channel, message)));
        kept.is_some_and(|kept| kept.state == MessageState::Pending)
    }

    fn letter(&self, channel: &str, message: &Message) -> OutboxMessage {
        outbox_message(channel, message, &self.file, &self.inputs, &self.masker)
    }
}

/// The state of a message in the outbox before it is sent.
enum Put {
    Claimed(Box<OutboxEntry>),
    Delivered(String),
    Taken,
}

impl Notifier for RunNotifier {
    fn keep(&self, messages: &[(&str, &Message)]) {
        // Without messages, no outbox is made.
        if messages.is_empty() {
            return;
        }
        let letter = |(channel, message): &(&str, &Message)| self.letter(channel, message);
        let letters: Vec<OutboxMessage> = messages.iter().map(letter).collect();
        // If the outbox fails, they are sent all the same, and it is reported once.
        let _kept = self.outbox.with(|outbox| outbox.put_all(&letters));
    }

    fn deliver(&self, channel: &str, message: &Message) -> Result<String> {
        let target = self.channels.get(channel).ok_or_else(|| no_channel(channel))?;
        let letter = self.letter(channel, message);
        let put = self.outbox.with(|outbox| {
            let entry = outbox.put(&letter)?;
            if entry.state == MessageState::Delivered {
                return Ok(Put::Delivered(entry.answer.unwrap_or_default()));
            }
            Ok(outbox.claim(&entry)?.map_or(Put::Taken, |entry| Put::Claimed(Box::new(entry))))
        });
        let attempt =
            |entry| DeliveryAttempt { outbox: &self.outbox, recorder: &*self.recorder, masker: &self.masker, entry };
        let target = target.as_ref().map(Box::as_ref);
        match put {
            Some(Put::Delivered(answer)) => Ok(answer),
            Some(Put::Taken) => Err(Diagnostic::failure(
                codes::TL0672,
                format!("another process is sending this message to `{channel}`"),
            )
            .transient(true)),
            Some(Put::Claimed(entry)) => attempt(Some(&entry)).send(target, channel, message),
            // Send even if the outbox cannot record it.
            None => attempt(None).send(target, channel, message),
        }
    }
}

/// A message in the form that the outbox keeps. Inputs that hold a secret are left out: a channel whose settings use one
/// cannot be opened again. A masked input would lead to another destination.
pub(super) fn outbox_message(
    channel: &str,
    message: &Message,
    file: &Path,
    inputs: &Map<String, Json>,
    masker: &Masker,
) -> OutboxMessage {
    let is_shown_whole = |value: &Json| {
        let mut shown = value.clone();
        masker.mask_json(&mut shown);
        shown == *value
    };
    let kept: Map<String, Json> = inputs
        .iter()
        .filter(|(_, value)| is_shown_whole(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    OutboxMessage {
        id: message.id.clone(),
        channel: channel.to_owned(),
        pipeline: message.pipeline.clone(),
        file: file.to_owned(),
        inputs: Json::Object(kept).to_string(),
        content: serde_json::to_string(message).expect("texts are written as JSON"),
    }
}

/// One attempt to deliver a message.
pub(super) struct DeliveryAttempt<'a> {
    pub(super) outbox: &'a OutboxHandle,
    pub(super) recorder: &'a dyn Recorder,
    pub(super) masker: &'a Masker,
    /// The claimed entry; none if the outbox does not work.
    pub(super) entry: Option<&'a OutboxEntry>,
}

impl DeliveryAttempt<'_> {
    /// Sends a message once, updates the outbox, and records the result.
    pub(super) fn send(
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
            // The secret or file that the channel lacks may be there next time.
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
            // If this fails, the message is sent again with the same id. The handle has noted the error.
            let _noted = self.outbox.with(|outbox| outbox.settle(entry, &attempt));
        }
        debug!(channel, when = message.when, attempts, delivered = result.is_ok(), "message");
        let recorded = self.record(channel, message, attempts, &result, after);
        let answer = result?;
        recorded.map(|()| answer)
    }

    /// Help for a message that was not delivered: when it is tried again.
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

/// The delay until the next attempt. None after a permanent error, or after the last attempt.
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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Zoned;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json};

use super::delivery::{DeliveryAttempt, RunNotifier};
use super::occasion::message_event;
use super::outbox::OutboxHandle;
use crate::channels::{Channel, Message};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::What;
use crate::open::{Contexts, load_again, open_channel, read_needed, run_values, secrets_of_channel};
use crate::stages::Recorder;
use crate::state::{OutboxEntry, StateDir};
use crate::value::{Cancel, Masker};

/// The options of one pass over the pending messages.
pub(super) struct Drain<'a> {
    pub(super) outbox: &'a OutboxHandle,
    pub(super) recorder: &'a dyn Recorder,
    /// Include messages scheduled later or given up.
    pub(super) all: bool,
    /// No attempt starts after this time.
    pub(super) limit: Option<Duration>,
    /// Checked before each message.
    pub(super) cancel: &'a Cancel,
}

/// A result of a pass over the outbox.
pub(super) enum Drained {
    /// A message was tried.
    Tried(Box<Tried>),
    /// A warning: messages still wait, or a channel cannot be opened.
    Problem(Diagnostic),
}

/// One attempt to deliver a pending message.
pub(super) struct Tried {
    /// The message.
    pub(super) message: Message,
    /// The channel.
    pub(super) channel: String,
    /// The number of attempts so far.
    pub(super) attempts: u32,
    /// The channel's answer, or why it failed.
    pub(super) result: Result<String>,
}

/// A pending message with its channel, opened again.
struct RetryTarget {
    channel: Box<dyn Channel>,
    masker: Masker,
    message: Message,
}

impl Drain<'_> {
    /// Sends due messages, oldest first, and returns how many due ones are left. A channel that fails once is skipped for the
    /// rest of the pass: its other messages would likely fail too, each after its time limit.
    pub(super) fn run(&self, emit: &mut dyn FnMut(Drained)) -> usize {
        let started = Instant::now();
        let due = self.outbox.with(|outbox| outbox.prune().and_then(|()| outbox.due(self.all))).unwrap_or_default();
        let mut failed: BTreeMap<(PathBuf, String), Option<Diagnostic>> = BTreeMap::new();
        let mut left: BTreeMap<(PathBuf, String), usize> = BTreeMap::new();
        for entry in due {
            let place = (entry.message.file.clone(), entry.message.channel.clone());
            let late = self.limit.is_some_and(|limit| started.elapsed() >= limit);
            if late || self.cancel.is_cancelled() || failed.contains_key(&place) {
                *left.entry(place).or_default() += 1;
                continue;
            }
            match retry_target(&entry, self.outbox.state(), self.recorder) {
                Ok(open) => {
                    if let Some(false) = self.attempt(&entry, open, emit) {
                        failed.insert(place, None);
                    }
                }
                Err(error) => {
                    let _noted = self.outbox.with(|outbox| outbox.set_aside(&entry, &error.one_line()));
                    *left.entry(place.clone()).or_default() += 1;
                    failed.insert(place, Some(error));
                }
            }
        }
        for (place, count) in &left {
            let unopened = failed.get_mut(place).and_then(Option::take);
            emit(Drained::Problem(unopened.unwrap_or_else(|| waiting(&place.1, *count))));
        }
        left.values().sum()
    }

    /// Whether the message was delivered; `None` if another process is sending it.
    fn attempt(&self, entry: &OutboxEntry, open: RetryTarget, emit: &mut dyn FnMut(Drained)) -> Option<bool> {
        let entry = self.outbox.with(|outbox| outbox.claim(entry))??;
        let RetryTarget { channel, masker, message } = open;
        let name = entry.message.channel.clone();
        let delivery =
            DeliveryAttempt { outbox: self.outbox, recorder: self.recorder, masker: &masker, entry: Some(&entry) };
        let result = delivery.send(Ok(&*channel), &name, &message);
        let delivered = result.is_ok();
        let tried = Tried { message, channel: name, attempts: entry.attempts, result };
        emit(Drained::Tried(Box::new(tried)));
        Some(delivered)
    }
}

fn waiting(channel: &str, count: usize) -> Diagnostic {
    let messages = if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
    Diagnostic::warning(codes::TL0673, format!("{messages} for `{channel}` still wait"))
        .help("the next run tries again, and so does `tl notify flush`; `tl notify list` shows them")
}

/// Opens the channel of a pending message from its file as it is now, or from its last good text. Only the text of the message was
/// kept.
fn retry_target(entry: &OutboxEntry, state: &StateDir, recorder: &dyn Recorder) -> Result<RetryTarget> {
    let queued = &entry.message;
    let failed = || {
        let message = format!("the channel `{}` of `{}` cannot be opened again", queued.channel, queued.file.display());
        Diagnostic::warning(codes::TL0674, message).help(
            "messages for it are kept for 7 days: bring back what is missing, or look at them with `tl notify list`",
        )
    };
    let caused = |found: &[Diagnostic]| {
        let mut failed = failed();
        failed.causes.extend(found.iter().map(Diagnostic::one_line));
        failed
    };
    let unread = |error: serde_json::Error| failed().cause(&error);
    let mut message: Message = serde_json::from_str(&queued.content).map_err(unread)?;
    message.folder = queued.file.parent().map(Path::to_owned).unwrap_or_default();
    let inputs: Map<String, Json> = serde_json::from_str(&queued.inputs).map_err(unread)?;
    let loaded = load_again(state, &queued.file, inputs).map_err(|found| caused(&found))?;
    let needed = secrets_of_channel(&loaded, &queued.channel);
    let secrets = read_needed(&loaded.document, &loaded.pipeline, &needed, &Cancel::default());
    let when =
        message.time.parse::<jiff::Timestamp>().map_or_else(|_| Zoned::now(), |time| time.to_zoned(TimeZone::system()));
    let contexts = Contexts::new(&loaded, &secrets.known, run_values(&queued.pipeline, &message.run, &when));
    let channel = open_channel(&loaded, &contexts, &queued.channel, Some(recorder)).map_err(|error| {
        let mut failed = caused(&secrets.missing_or(error));
        failed.mask(&|text| secrets.masker().mask(text));
        failed
    })?;
    Ok(RetryTarget { channel, masker: secrets.masker().clone(), message })
}

/// Time limit for the messages of earlier runs at the start of a run. One attempt may exceed it.
const DRAIN: Duration = Duration::from_secs(30);

/// Sends the due messages in the outbox, of all pipelines.
pub(crate) fn drain(notifier: &RunNotifier, cancel: &Cancel, emit: &mut dyn FnMut(What)) {
    if notifier.outbox.is_in_use() {
        let drain =
            Drain { outbox: &notifier.outbox, recorder: &*notifier.recorder, all: false, limit: Some(DRAIN), cancel };
        drain.run(&mut |drained| emit(drained_event(drained)));
    }
    outbox_trouble(notifier, emit);
}

/// Reports, once, that the outbox does not work. The run continues: only the retry of messages is lost.
pub(crate) fn outbox_trouble(notifier: &RunNotifier, emit: &mut dyn FnMut(What)) {
    if let Some(error) = notifier.outbox.problem() {
        emit(What::Problem { error });
    }
}

/// A result of draining as an event of this run.
fn drained_event(drained: Drained) -> What {
    match drained {
        Drained::Problem(error) => What::Problem { error },
        Drained::Tried(tried) => {
            let Tried { message, channel, attempts, result } = *tried;
            let of = match message.run.as_str() {
                "" => format!("attempt {attempts}, of {}", message.pipeline),
                run => format!("attempt {attempts}, run {run} of {}", message.pipeline),
            };
            let result = result.map(|how| format!("{how} ({of})")).map_err(|error| error.label(of));
            message_event(&channel, &message, result)
        }
    }
}

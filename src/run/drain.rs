use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Zoned;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json};

use super::contexts::{Contexts, run_values};
use super::delivery::{RunPost, Sending};
use super::keeper::Keeper;
use super::notify::told_late;
use super::prepare::{load_again, open_channel, read_secrets};
use super::teller::{Teller, tell};
use crate::channels::{Channel, Message};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::What;
use crate::stages::Recorder;
use crate::state::OutboxEntry;
use crate::value::{Cancel, Masker};

/// How to go about the messages that wait.
pub(super) struct Drain<'a> {
    pub(super) keeper: &'a Keeper,
    pub(super) recorder: &'a dyn Recorder,
    /// Also those that are to wait longer, and those that were given up.
    pub(super) all: bool,
    /// After this, none is begun.
    pub(super) limit: Option<Duration>,
    /// Whether to stop.
    pub(super) stopped: &'a dyn Fn() -> bool,
}

/// What came of a message that waited.
pub(super) enum Drained {
    /// It was tried.
    Tried(Box<Tried>),
    /// Something is worth knowing.
    Problem(Diagnostic),
}

/// A message that waited and was tried.
pub(super) struct Tried {
    /// What was sent.
    pub(super) message: Message,
    /// To which channel.
    pub(super) channel: String,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// What came of it.
    pub(super) result: Result<String>,
}

/// The channel of a message that waits, opened again.
struct Reopened {
    channel: Box<dyn Channel>,
    masker: Masker,
    message: Message,
}

impl Drain<'_> {
    /// Tries what is due, oldest first; returns how many are left that were due. A channel that fails once is left alone:
    /// what else waits for it would fail too, each after its time limit.
    pub(super) fn run(&self, told: &mut dyn FnMut(Drained)) -> usize {
        let started = Instant::now();
        let due = self.keeper.with(|outbox| outbox.prune().and_then(|()| outbox.due(self.all))).unwrap_or_default();
        let mut failed: BTreeMap<(PathBuf, String), Option<Diagnostic>> = BTreeMap::new();
        let mut left: BTreeMap<(PathBuf, String), usize> = BTreeMap::new();
        for entry in due {
            let place = (entry.message.file.clone(), entry.message.channel.clone());
            let late = self.limit.is_some_and(|limit| started.elapsed() >= limit);
            if late || (self.stopped)() || failed.contains_key(&place) {
                *left.entry(place).or_default() += 1;
                continue;
            }
            match reopen(&entry) {
                Ok(open) => {
                    if let Some(false) = self.attempt(&entry, open, told) {
                        failed.insert(place, None);
                    }
                }
                Err(error) => {
                    let _noted = self.keeper.with(|outbox| outbox.set_aside(&entry, &error.one_line()));
                    *left.entry(place.clone()).or_default() += 1;
                    failed.insert(place, Some(error));
                }
            }
        }
        for (place, count) in &left {
            let unopened = failed.get_mut(place).and_then(Option::take);
            told(Drained::Problem(unopened.unwrap_or_else(|| waiting(&place.1, *count))));
        }
        left.values().sum()
    }

    /// `None` where another process has it.
    fn attempt(&self, entry: &OutboxEntry, open: Reopened, told: &mut dyn FnMut(Drained)) -> Option<bool> {
        let entry = self.keeper.with(|outbox| outbox.claim(entry))??;
        let Reopened { channel, masker, message } = open;
        let name = entry.message.channel.clone();
        let sending = Sending { keeper: self.keeper, recorder: self.recorder, masker: &masker, entry: Some(&entry) };
        let result = sending.attempt(Ok(&*channel), &name, &message);
        let delivered = result.is_ok();
        let tried = Tried { message, channel: name, attempts: entry.attempts, result };
        told(Drained::Tried(Box::new(tried)));
        Some(delivered)
    }
}

fn waiting(channel: &str, count: usize) -> Diagnostic {
    let messages = if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
    Diagnostic::warning(codes::TL0673, format!("{messages} for `{channel}` still wait"))
        .help("the next run tries again, and so does `tl notify flush`; `tl notify list` shows them")
}

/// Opens the channel of a message again, with the file as it is now.
fn reopen(entry: &OutboxEntry) -> Result<Reopened> {
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
    let loaded = load_again(&queued.file, inputs).map_err(|found| caused(&found))?;
    let secrets = read_secrets(&loaded.document, &loaded.pipeline, &|| None);
    let when =
        message.time.parse::<jiff::Timestamp>().map_or_else(|_| Zoned::now(), |time| time.to_zoned(TimeZone::system()));
    let contexts = Contexts::new(&loaded, secrets.values, run_values(&queued.pipeline, &message.run, &when));
    let channel = open_channel(&loaded, &contexts, &queued.channel).map_err(|error| {
        let mut found = secrets.missing.clone();
        found.push(error);
        let mut failed = caused(&found);
        failed.mask(&|text| secrets.masker.mask(text));
        failed
    })?;
    Ok(Reopened { channel, masker: secrets.masker, message })
}

/// What waits from earlier runs holds up this one no longer than this, and one message.
const DRAIN: Duration = Duration::from_secs(30);

/// Sends what waits in the outbox, of whatever pipeline.
pub(super) fn drain(post: &RunPost, cancel: &Cancel, teller: &Mutex<Teller>) {
    if post.keeper.is_in_use() {
        let stopped = || cancel.is_cancelled();
        let drain = Drain {
            keeper: &post.keeper,
            recorder: &*post.recorder,
            all: false,
            limit: Some(DRAIN),
            stopped: &stopped,
        };
        drain.run(&mut |drained| tell(teller, told_late(drained)));
    }
    outbox_trouble(post, teller);
}

/// That the outbox does not work is no reason to fail, but one to say so.
pub(super) fn outbox_trouble(post: &RunPost, teller: &Mutex<Teller>) {
    if let Some(error) = post.keeper.problem() {
        tell(teller, What::Problem { error });
    }
}

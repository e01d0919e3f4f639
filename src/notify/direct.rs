//! Messages about a run that could not start and that neither the audit log nor the outbox can take.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Zoned;
use rustix::fs::OFlags;
use serde_json::{Map, Value as Json};
use ulid::Ulid;

use super::delivery::RunNotifier;
use super::message::{Origin, message};
use super::occasion::message_event;
use crate::channels::Message;
use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::event::What;
use crate::open::{
    Contexts, Loaded, News, last_good, load_again, open_channel, place_of, read_needed, run_values, secrets_of_channel,
};
use crate::pipeline::{Notification, When};
use crate::stages::Notifier as _;
use crate::state::{StateDir, Version};
use crate::value::{Cancel, sha256};

/// One message for a cause in this time: a broken disk and a run each minute must not fill a mailbox.
const QUIET: Duration = Duration::from_hours(1);

/// Tells the channels that ask for `blocked`, now or never: nothing is kept for later and nothing is recorded. The file is read
/// again, as its channels are needed and no more.
pub(crate) fn send_directly(
    state: &StateDir,
    (path, inputs): (&Path, Map<String, Json>),
    run: &str,
    errors: &[Diagnostic],
    emit: &mut dyn FnMut(What),
) {
    if errors.first().is_none_or(|error| matches!(error.kind, Kind::Busy | Kind::Cancelled)) {
        return;
    }
    let Ok(loaded) = load_again(state, path, inputs) else { return };
    let mut lines: Vec<String> = errors.iter().map(full).collect();
    lines.extend(last_good(state, path).map(|(_, version)| last_used(path, &version)));
    let news = blocked(&loaded, &lines);
    once_an_hour(state, &loaded, When::Blocked, errors, &mut |channels| {
        deliver(&loaded, (run, run), &news, channels, emit)
    });
}

/// What a message about a run says that could not start.
pub(super) fn blocked<'a>(loaded: &'a Loaded, lines: &[String]) -> News<'a> {
    News { error: Some(lines.join("\n")), ..News::of(When::Blocked, &loaded.document, &loaded.pipeline) }
}

/// Sends `blocked` through the outbox.
pub(crate) fn send_blocked(
    state: &StateDir,
    loaded: &Loaded,
    notifier: &RunNotifier,
    (id, run): (&str, &str),
    news: &News<'_>,
    causes: &[Diagnostic],
    emit: &mut dyn FnMut(What),
) {
    let origin = Origin { id, run, masker: &notifier.masker };
    let mut messages = Vec::new();
    for (number, entry) in entries(loaded, When::Blocked) {
        match message(&origin, news, number, When::Blocked) {
            Ok(message) => messages.push((&entry.to, message)),
            Err(error) => emit(What::Problem { error }),
        }
    }
    once_an_hour(state, loaded, When::Blocked, causes, &mut |channels| {
        let to = |(to, message): &'_ (&Vec<String>, Message)| -> Vec<(String, Message)> {
            to.iter().filter(|to| channels.contains(to)).map(|to| (to.clone(), message.clone())).collect()
        };
        let all: Vec<(String, Message)> = messages.iter().flat_map(to).collect();
        notifier.keep(&all.iter().map(|(channel, message)| (channel.as_str(), message)).collect::<Vec<_>>());
        let mut told = Vec::new();
        for (channel, message) in &all {
            let sent = notifier.deliver(channel, message);
            // What could not be recorded was sent all the same, and the outbox sends later what it has.
            let is_sent = sent.as_ref().err().is_none_or(|error| ![codes::TL0670, codes::TL0403].contains(&error.code));
            if is_sent || notifier.is_kept(channel, message) {
                told.push(channel.clone());
            }
            emit(message_event(channel, message, sent));
        }
        told
    });
}

/// Calls `send` with the channels that ask for this occasion and were not told of these causes within the last hour. It returns
/// those that it told. Of two processes that call this at once, one sends.
pub(super) fn once_an_hour(
    state: &StateDir,
    loaded: &Loaded,
    when: When,
    causes: &[Diagnostic],
    send: &mut dyn FnMut(&[&String]) -> Vec<String>,
) {
    let folders = folders(state);
    let channels: BTreeSet<&String> = entries(loaded, when).flat_map(|(_, entry)| &entry.to).collect();
    let notes: Vec<(&String, Claim)> = channels
        .into_iter()
        .map(|channel| (channel, claim(&folders, &key(loaded, when, causes, channel))))
        .filter(|(_, claim)| !matches!(claim, Claim::Told))
        .collect();
    if notes.is_empty() {
        return;
    }
    let told = send(&notes.iter().map(|(channel, _)| *channel).collect::<Vec<_>>());
    // What no channel took is tried again by the next run. Where the time cannot be noted, each run sends a message.
    for (_, claim) in notes.iter().filter(|(channel, _)| told.contains(channel)) {
        if let Claim::Due(note) = claim {
            let _untold = note.set_modified(SystemTime::now());
        }
    }
}

fn entries(loaded: &Loaded, when: When) -> impl Iterator<Item = (usize, &Notification)> {
    loaded.pipeline.notify.iter().enumerate().filter(move |(_, entry)| entry.when.contains(&when))
}

/// By what is noted that a channel was told: the same for a cause whatever a program or the system says of it today.
fn key(loaded: &Loaded, when: When, causes: &[Diagnostic], channel: &str) -> String {
    let headline = |cause: &Diagnostic| format!("{} {:?} {}", cause.code, cause.place, without_ids(&cause.message));
    let mut all: Vec<String> = causes.iter().map(headline).collect();
    all.extend([when.word().to_owned(), channel.to_owned()]);
    let code = causes.first().map(|cause| cause.code.to_string()).unwrap_or_default();
    format!("{}{code}-{}", of_file(&loaded.path), sha256(all.join("\0")))
}

/// A text without the ids of runs and the numbers of files of the log: two runs may be blocked by one cause.
fn without_ids(text: &str) -> String {
    let is_number = |word: &str| word.len() >= 8 && word.bytes().all(|letter| letter.is_ascii_digit());
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| Ulid::from_string(word).is_err() && !is_number(word)).collect::<Vec<_>>().join(" ")
}

/// A run of this file has ended, so what blocked it is over: if it is blocked again, that is news. Other inputs may still be wrong.
pub(crate) fn forget_blocked(state: &StateDir, file: &Path) {
    let of_file = of_file(file);
    let of_inputs = [codes::TL0501, codes::TL0502, codes::TL0503].map(|code| format!("{of_file}{code}-"));
    for folder in folders(state).iter().filter(|folder| is_own(folder)) {
        let told = fs::read_dir(folder).into_iter().flatten().filter_map(std::result::Result::ok);
        for entry in told {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&of_file) && !of_inputs.iter().any(|input| name.starts_with(input)) {
                // What stays keeps the next message about the same cause for an hour.
                let _stays = fs::remove_file(entry.path());
            }
        }
    }
}

/// Where sent messages are remembered: in the first of these that can be written.
fn folders(state: &StateDir) -> [PathBuf; 3] {
    [state.path().join("blocked"), of_session(), of_machine()]
}

/// The beginning of the names by which a file's causes are remembered.
fn of_file(file: &Path) -> String {
    format!("{}-", &sha256(place_of(file).as_os_str().as_encoded_bytes())[..16])
}

/// Sends the messages with this id and about this run to these channels, past the outbox. Returns the channels that took one.
pub(super) fn deliver(
    loaded: &Loaded,
    (id, run): (&str, &str),
    news: &News<'_>,
    channels: &[&String],
    emit: &mut dyn FnMut(What),
) -> Vec<String> {
    let mut told = Vec::new();
    let (document, pipeline) = (&loaded.document, &loaded.pipeline);
    let when = news.result;
    let needed = channels.iter().flat_map(|name| secrets_of_channel(loaded, name)).collect();
    let secrets = read_needed(document, pipeline, &needed, &Cancel::default());
    let contexts = Contexts::new(loaded, &secrets.known, run_values(pipeline.name.as_str(), run, &Zoned::now()));
    let origin = Origin { id, run, masker: secrets.masker() };
    for (number, entry) in entries(loaded, when) {
        let Ok(message) = message(&origin, news, number, when) else { continue };
        for name in entry.to.iter().filter(|name| channels.contains(name)) {
            let failed = || Diagnostic::failure(codes::TL0670, format!("the message to `{name}` was not delivered"));
            let mut sent = match open_channel(loaded, &contexts, name, None) {
                Ok(channel) => channel.deliver(&message).map_err(|error| failed().cause(&error)),
                Err(error) => {
                    let mut failed = failed();
                    failed.causes.extend(secrets.missing_or(error).iter().map(Diagnostic::one_line));
                    Err(failed)
                }
            };
            if let Err(error) = &mut sent {
                error.mask(&|text| secrets.masker().mask(text));
            }
            if sent.is_ok() {
                told.push(name.clone());
            }
            emit(message_event(name, &message, sent));
        }
    }
    told
}

/// A finding with its place, on one line.
pub(super) fn full(found: &Diagnostic) -> String {
    let place = found.place.as_ref();
    let place = place.map(|place| format!(" ({}:{}:{})", place.file, place.line, place.column)).unwrap_or_default();
    format!("{}{place}", found.one_line())
}

pub(super) fn last_used(file: &Path, version: &Version) -> String {
    let Version { number, last_used, .. } = version;
    let used = last_used.as_deref().unwrap_or_default();
    format!("version {number} of this file ran last, at {used}: `tl versions {}` shows what changed", file.display())
}

/// Whether a channel is to be told.
enum Claim {
    /// It was told a short time ago, or another process tells it now.
    Told,
    /// It is to be told, and then the time of this note is set. The lock on it is held until then.
    Due(File),
    /// It is to be told, and no folder takes a note.
    Unnoted,
}

fn claim(folders: &[PathBuf], key: &str) -> Claim {
    if is_told(folders, key) {
        return Claim::Told;
    }
    for folder in folders {
        let _there = DirBuilder::new().mode(0o700).create(folder);
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let open =
            || File::options().write(true).create(true).truncate(false).custom_flags(flags).open(folder.join(key)).ok();
        let Some(mut note) = is_own(folder).then(open).flatten() else { continue };
        // Where there are no locks, two processes may both tell of it.
        if matches!(note.try_lock(), Err(TryLockError::WouldBlock)) || is_told(folders, key) {
            return Claim::Told;
        }
        // On a full disk a file can be made and not be written.
        if note.write_all(b"told\n").and_then(|()| note.set_modified(SystemTime::UNIX_EPOCH)).is_ok() {
            return Claim::Due(note);
        }
    }
    Claim::Unnoted
}

/// Whether a channel was told of a cause a short time ago.
fn is_told(folders: &[PathBuf], key: &str) -> bool {
    let is_young = |folder: &PathBuf| {
        let note = is_own(folder).then(|| fs::symlink_metadata(folder.join(key)).ok()).flatten();
        let note = note.filter(|note| note.is_file() && note.len() > 0);
        note.and_then(|note| note.modified().ok()?.elapsed().ok()).is_some_and(|age| age < QUIET)
    };
    folders.iter().any(is_young)
}

/// Whether nobody else can have put anything into a folder.
fn is_own(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|about| {
        about.is_dir() && about.uid() == rustix::process::geteuid().as_raw() && about.permissions().mode() & 0o022 == 0
    })
}

/// A folder that lives as long as the user's session.
fn of_session() -> PathBuf {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    folder.unwrap_or_else(std::env::temp_dir).join("timelocker")
}

/// A folder of the user's own below the temporary folder.
fn of_machine() -> PathBuf {
    std::env::temp_dir().join(format!("timelocker-{}", rustix::process::geteuid().as_raw()))
}

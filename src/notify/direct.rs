//! Messages about a run that could not start and that neither the audit log nor the outbox can take.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Zoned;
use serde_json::{Map, Value as Json};
use ulid::Ulid;

use super::message::{Origin, message};
use super::occasion::message_event;
use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::event::What;
use crate::open::{
    Contexts, Loaded, News, last_good, load_again, open_channel, place_of, read_needed, run_values, secrets_of_channel,
};
use crate::pipeline::When;
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
    let Some(cause) = errors.first().filter(|error| !matches!(error.kind, Kind::Busy | Kind::Cancelled)) else {
        return;
    };
    let Ok(loaded) = load_again(state, path, inputs) else { return };
    let mut lines: Vec<String> = errors.iter().map(full).collect();
    lines.extend(last_good(state, path).map(|(_, version)| last_used(path, &version)));
    let news = blocked(&loaded, &lines);
    once_an_hour(state, &loaded, When::Blocked, cause, &mut || deliver(&loaded, (run, run), &news, emit));
}

/// What a message about a run says that could not start.
pub(super) fn blocked<'a>(loaded: &'a Loaded, lines: &[String]) -> News<'a> {
    News { error: Some(lines.join("\n")), ..News::of(When::Blocked, &loaded.document, &loaded.pipeline) }
}

/// Calls `send`, which returns whether a channel took the message, unless nobody asks for this occasion or a message about this cause
/// was sent within the last hour.
pub(crate) fn once_an_hour(
    state: &StateDir,
    loaded: &Loaded,
    when: When,
    cause: &Diagnostic,
    send: &mut dyn FnMut() -> bool,
) {
    let is_asked = loaded.pipeline.notify.iter().any(|entry| entry.when.contains(&when));
    let key = format!("{}{}", of_file(&loaded.path), sha256(without_ids(&full(cause))));
    let folders = folders(state);
    if !is_asked || is_told(&folders, &key) {
        return;
    }
    let mut note = note(&folders, &key);
    // Another run tells of it now. Where there are no locks, both do.
    if note.as_ref().is_some_and(|note| matches!(note.try_lock(), Err(TryLockError::WouldBlock)))
        || is_told(&folders, &key)
    {
        return;
    }
    // What no channel took is tried again by the next run.
    if send()
        && let Some(note) = &mut note
    {
        // Where it cannot be written, each run sends a message.
        let _untold = note.set_len(0).and_then(|()| note.write_all(b"told\n"));
    }
}

/// A text without the ids of runs: two runs may be blocked by one cause.
fn without_ids(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| Ulid::from_string(word).is_err()).collect::<Vec<_>>().join(" ")
}

/// A run of this file has ended, so what blocked it is over: if it is blocked again, that is news.
pub(crate) fn forget_blocked(state: &StateDir, file: &Path) {
    let of_file = of_file(file);
    for folder in folders(state).iter().filter(|folder| is_own(folder)) {
        let told = fs::read_dir(folder).into_iter().flatten().filter_map(std::result::Result::ok);
        for entry in told.filter(|entry| entry.file_name().to_string_lossy().starts_with(&of_file)) {
            // What stays keeps the next message about the same cause for an hour.
            let _stays = fs::remove_file(entry.path());
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

/// Sends the messages with this id and about this run, past the outbox. Returns whether a channel took one.
pub(super) fn deliver(loaded: &Loaded, (id, run): (&str, &str), news: &News<'_>, emit: &mut dyn FnMut(What)) -> bool {
    let mut is_delivered = false;
    let (document, pipeline) = (&loaded.document, &loaded.pipeline);
    let when = news.result;
    let entries = || pipeline.notify.iter().enumerate().filter(|(_, entry)| entry.when.contains(&when));
    let needed = entries().flat_map(|(_, entry)| &entry.to).flat_map(|name| secrets_of_channel(loaded, name)).collect();
    let secrets = read_needed(document, pipeline, &needed, &Cancel::default());
    let contexts = Contexts::new(loaded, &secrets.known, run_values(pipeline.name.as_str(), run, &Zoned::now()));
    let origin = Origin { id, run, masker: secrets.masker() };
    for (number, entry) in entries() {
        let Ok(message) = message(&origin, news, number, when) else { continue };
        for name in &entry.to {
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
            is_delivered |= sent.is_ok();
            emit(message_event(name, &message, sent));
        }
    }
    is_delivered
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

/// Whether a message about a cause was sent a short time ago.
fn is_told(folders: &[PathBuf], key: &str) -> bool {
    let is_young = |folder: &PathBuf| {
        let note = is_own(folder).then(|| fs::metadata(folder.join(key)).ok()).flatten();
        note.filter(|note| note.len() > 0)
            .and_then(|note| note.modified().ok()?.elapsed().ok())
            .is_some_and(|age| age < QUIET)
    };
    folders.iter().any(is_young)
}

/// Where it is noted that a message was sent: in the first folder that takes it. The note is empty until then.
fn note(folders: &[PathBuf], key: &str) -> Option<File> {
    folders.iter().find_map(|folder| {
        let _there = DirBuilder::new().mode(0o700).create(folder);
        let options = || File::options().write(true).create(true).truncate(false).open(folder.join(key)).ok();
        is_own(folder).then(options).flatten()
    })
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

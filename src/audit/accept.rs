//! The way on after damage: the old log is put aside as it is, and a new one says so in its first record.
//!
//! It takes two markers, so that a crash at any point is finished by the next writer. While `accepting` stands, files
//! of the old log are still being moved. While `accepted` stands, all are moved and the new log's first record is due.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files::{self, Layout, Lock};
use super::log::TIMEOUT;
use super::record::{Actor, Prepared};
use super::state::State;
use super::{Entry, Error, Problem, Report, Severity, verify};

/// What belongs to a log, except its lock. The key goes first: from then on nobody can take the rest for a log, and
/// nobody can sign for it.
const MOVED: [&str; 7] = ["key", "log.vkey", "checkpoint", "tree", "ckpt", "torn", "seg"];

#[derive(Serialize, Deserialize)]
struct Marker {
    directory: String,
    data: Map<String, Value>,
}

/// Puts a damaged log aside and begins a new one, whose first record `audit.accepted` tells who did it, why, what the
/// old log was, and what is wrong with it. Returns the folder of the old one.
///
/// It refuses a healthy log ([`Error::NotDamaged`]): otherwise it would be the convenient way to begin a clean log
/// whenever the old one is unwelcome. When an earlier call was interrupted it finishes that one.
pub fn accept(dir: &Path, reason: &str) -> Result<PathBuf, Error> {
    let layout = Layout::new(dir);
    if !dir.is_dir() {
        return Err(Error::Missing(dir.to_owned()));
    }
    let lock = Lock::create(&layout)?;
    let _held = lock.exclusive(TIMEOUT)?;
    let marker = match marker(&layout, "accepting")?.or(marker(&layout, "accepted")?) {
        Some(unfinished) => unfinished,
        None => begin(&layout, reason)?,
    };
    State::load(&layout, Timestamp::now)?;
    Ok(dir.join(marker.directory))
}

/// Decides, and writes the decision down before anything moves.
fn begin(layout: &Layout, reason: &str) -> Result<Marker, Error> {
    let report = verify::unlocked(layout, None)?;
    let mut damage: Vec<Problem> = report.problems.iter().filter(|problem| problem.is_damage()).cloned().collect();
    if damage.is_empty() {
        // A verifier needs no secret key, a writer does.
        match State::load(layout, Timestamp::now) {
            Ok(_) => return Err(Error::NotDamaged),
            Err(Error::Damaged(problem)) => damage.push(*problem),
            Err(error) => return Err(error),
        }
    }
    let directory = format!("damaged-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ"));
    let data = describe(&report, &damage, &directory, reason);
    let marker = Marker { directory, data };
    Prepared::new(&marker.entry(), &Actor::current().render())?;
    let text = serde_json::to_vec(&marker).map_err(|e| Error::io("write", layout.dir())(io::Error::from(e)))?;
    files::replace(&layout.dir().join("accepting"), &text)?;
    Ok(marker)
}

fn describe(report: &Report, damage: &[Problem], directory: &str, reason: &str) -> Map<String, Value> {
    let signed = report.signed.as_ref();
    let first = damage.first().map(|problem| problem.to_string().chars().take(1_000).collect::<String>());
    let data = [
        ("directory", directory.into()),
        ("first_problem", first.into()),
        ("origin", report.origin.clone().into()),
        ("problems", (damage.len() as u64 + report.omitted).into()),
        ("reason", reason.into()),
        ("records", report.records.into()),
        ("root", signed.map(|signed| STANDARD.encode(signed.root)).into()),
        ("size", signed.map(|signed| signed.size).into()),
    ];
    data.into_iter().map(|(key, value): (&str, Value)| (key.to_owned(), value)).collect()
}

impl Marker {
    fn entry(&self) -> Entry {
        Entry { data: self.data.clone(), ..Entry::new("audit.accepted", Severity::Critical) }
    }
}

/// Finishes moving the old log aside. A writer does it before it looks at anything else.
pub(super) fn resume(layout: &Layout) -> Result<(), Error> {
    let Some(marker) = marker(layout, "accepting")? else { return Ok(()) };
    let aside = layout.dir().join(&marker.directory);
    if !aside.is_dir() {
        files::create_dir(&aside)?;
    }
    let finish = || -> io::Result<()> {
        for name in MOVED {
            match fs::rename(layout.dir().join(name), aside.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        files::sync_dir(&aside)?;
        files::sync_dir(layout.dir())?;
        fs::rename(layout.dir().join("accepting"), layout.dir().join("accepted"))?;
        files::sync_dir(layout.dir())
    };
    finish().map_err(Error::io("move the damaged log to", &aside))
}

/// Writes the first record of the new log, signs it, and is done.
pub(super) fn record(state: &mut State) -> Result<(), Error> {
    let Some(marker) = marker(&state.layout, "accepted")? else { return Ok(()) };
    if state.tree.size() == 0 {
        state.append_own(&[marker.entry()])?;
    }
    state.sign()?;
    let path = state.layout.dir().join("accepted");
    fs::remove_file(&path).and_then(|()| files::sync_dir(state.layout.dir())).map_err(Error::io("remove", &path))
}

fn marker(layout: &Layout, name: &str) -> Result<Option<Marker>, Error> {
    let path = layout.dir().join(name);
    let Some(text) = files::read_text(&path)? else { return Ok(None) };
    let marker: Marker = serde_json::from_str(&text).map_err(|e| Error::io("read", &path)(io::Error::from(e)))?;
    let plain = marker.directory.starts_with("damaged-") && !marker.directory.contains('/');
    if plain { Ok(Some(marker)) } else { Err(Error::io("read", &path)(io::ErrorKind::InvalidData.into())) }
}

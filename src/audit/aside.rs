//! The two markers with which a damaged log is put aside, so that a crash at any point is finished by the next writer.
//!
//! While `accepting` stands, files of the old log are still being moved. While `accepted` stands, all are moved and the
//! first record of the new log is due.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files::{self, Layout};
use super::{Draft, Error, Problem, Severity, verify};

/// What belongs to a log, except its lock. The key goes first: from then on nobody can take the rest for a log, and
/// nobody can sign for it.
const MOVED: [&str; 7] = ["key", "log.vkey", "checkpoint", "tree", "ckpt", "torn", "seg"];

/// The file with the decision, until all is moved.
const DECISION: &str = "accepting";

/// The decision to put a log aside.
#[derive(Serialize, Deserialize)]
pub(super) struct Marker {
    /// The folder for the old log.
    pub(super) directory: String,
    /// The data of `audit.accepted`. A marker that an earlier release left has whatever that release wrote.
    pub(super) data: Map<String, Value>,
}

impl Marker {
    /// The first record of the new log.
    pub(super) fn draft(&self) -> Draft {
        Draft { data: self.data.clone(), ..Draft::new("audit.accepted", Severity::Critical) }
    }

    /// Writes the decision down, before anything moves.
    pub(super) fn write(&self, layout: &Layout) -> Result<(), Error> {
        let text = serde_json::to_vec(self).map_err(|e| Error::io("write", layout.dir())(io::Error::from(e)))?;
        files::replace(&layout.dir().join(DECISION), &text)
    }
}

/// A decision that is not yet carried out.
pub(super) fn unfinished(layout: &Layout) -> Result<Option<Marker>, Error> {
    Ok(marker(layout, DECISION)?.or(accepted(layout)?))
}

/// A decision whose first record is due.
pub(super) fn accepted(layout: &Layout) -> Result<Option<Marker>, Error> {
    marker(layout, "accepted")
}

/// Whether a decision stands in a log that is sound. The first file to move is the key: while it is there, the damage is, too.
pub(super) fn is_forged(layout: &Layout) -> Result<bool, Error> {
    let path = layout.dir().join(DECISION);
    if !path.exists() || !layout.dir().join(MOVED[0]).exists() {
        return Ok(false);
    }
    match verify::unlocked(layout, None) {
        Ok(report) => Ok(!report.problems.iter().any(Problem::is_damage)),
        Err(Error::Missing(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a decision that no writer made.
pub(super) fn forget(layout: &Layout) -> Result<(), Error> {
    let path = layout.dir().join(DECISION);
    fs::remove_file(&path).and_then(|()| files::sync_dir(layout.dir())).map_err(Error::io("remove", &path))
}

/// Finishes moving the old log. A writer does it before it looks at anything else.
pub(super) fn resume(layout: &Layout) -> Result<(), Error> {
    let Some(marker) = marker(layout, DECISION)? else { return Ok(()) };
    if is_forged(layout)? {
        return Err(Problem::ForgedDecision { file: DECISION.to_owned() }.into());
    }
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
        fs::rename(layout.dir().join(DECISION), layout.dir().join("accepted"))?;
        files::sync_dir(layout.dir())
    };
    finish().map_err(Error::io("move the damaged log to", &aside))
}

/// Forgets the decision: its record is signed.
pub(super) fn finish(layout: &Layout) -> Result<(), Error> {
    let path = layout.dir().join("accepted");
    fs::remove_file(&path).and_then(|()| files::sync_dir(layout.dir())).map_err(Error::io("remove", &path))
}

fn marker(layout: &Layout, name: &str) -> Result<Option<Marker>, Error> {
    let path = layout.dir().join(name);
    let Some(text) = files::read_text(&path)? else { return Ok(None) };
    let marker: Marker = serde_json::from_str(&text).map_err(|e| Error::io("read", &path)(io::Error::from(e)))?;
    let plain = marker.directory.starts_with("damaged-") && !marker.directory.contains('/');
    if plain { Ok(Some(marker)) } else { Err(Error::io("read", &path)(io::ErrorKind::InvalidData.into())) }
}

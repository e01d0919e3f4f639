//! Puts a damaged log aside, whole and unchanged, and begins a new one that says so in its first record.
//!
//! A damaged log is never repaired: that would make evidence. Nobody continues it either: that would mix records that
//! are proven with records that are not. A sound log is refused.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use super::aside::{self, Marker};
use super::files::{Layout, Lock, TIMEOUT};
use super::record::{Actor, Prepared};
use super::state::State;
use super::{Draft, Error, Problem, Record, Report, verify};

/// Puts a damaged log aside and begins a new one, whose first record `audit.accepted` names who did it, why, what the
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
    if aside::is_forged(&layout)? {
        aside::forget(&layout)?;
    }
    let marker = match aside::unfinished(&layout)? {
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
    let data = Draft::from(describe(&report, &damage, &directory, reason)).data;
    let marker = Marker { directory, data };
    // A record that the new log would refuse must be refused before anything moves.
    Prepared::new(&marker.draft(), &Actor::current().render())?;
    marker.write(layout)?;
    Ok(marker)
}

fn describe(report: &Report, damage: &[Problem], directory: &str, reason: &str) -> Record {
    let signed = report.signed.as_ref();
    Record::AuditAccepted {
        directory: directory.to_owned(),
        first_problem: damage.first().map(|problem| problem.to_string().chars().take(1_000).collect()),
        origin: report.origin.clone(),
        problems: damage.len() as u64 + report.omitted,
        reason: reason.to_owned(),
        records: report.records,
        root: signed.map(|signed| STANDARD.encode(signed.root)),
        size: signed.map(|signed| signed.size),
    }
}

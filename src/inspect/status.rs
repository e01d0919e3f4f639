//! The runs that are active on this host, and the interrupted ones.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::event::Outcome;
use crate::pipeline;
use crate::state::{DbError, Run, RunState, Runs, StageRun, StateDir};
use crate::value;

/// A run that has no end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// The number of finished stages.
    pub stages_done: usize,
    /// The number of all stages; none if the file has changed since.
    pub stages_total: Option<usize>,
    /// The stages at work.
    pub working: Vec<Working>,
    /// The command that resumes it, if it was interrupted.
    pub resume: Option<String>,
}

/// A stage at work, or one of its instances.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Working {
    /// The stage.
    pub stage: String,
    /// The instance.
    pub instance: Option<String>,
    /// Its kind.
    pub kind: Option<String>,
    /// The number of the attempt.
    pub attempt: u32,
    /// When the first attempt began.
    pub started: Option<String>,
    /// Bytes it has handled.
    pub bytes: Option<u64>,
    /// The rate since the previous look, else since the start.
    pub bytes_per_second: Option<f64>,
}

/// A stage at work, by run, name and instance.
type StageAt = (String, String, Option<String>);

/// Polls the journals. Queries them only when something may have changed.
pub struct Watch {
    state: StateDir,
    /// The journals, with device and inode of their file.
    runs: Option<(Runs, (u64, u64))>,
    seen: Option<i64>,
    totals: HashMap<(PathBuf, String), Option<usize>>,
    before: HashMap<StageAt, (Timestamp, u64)>,
    now: Vec<Status>,
}

impl Watch {
    /// Watches a state folder.
    pub fn new(state: StateDir) -> Self {
        Self { state, runs: None, seen: None, totals: HashMap::new(), before: HashMap::new(), now: Vec::new() }
    }

    /// The runs, at the first call and whenever they changed since the last one; else none.
    pub fn look(&mut self) -> Result<Option<&[Status]>, DbError> {
        self.open()?;
        let change = self.runs.as_ref().map(|(runs, _)| runs.change()).transpose()?.unwrap_or(-1);
        let is_same_life = |status: &Status| {
            let is_alive = self.runs.as_ref().is_some_and(|(runs, _)| runs.is_alive(&status.run.id));
            is_alive == (status.run.state == RunState::Running)
        };
        if self.seen == Some(change) && self.now.iter().all(is_same_life) {
            return Ok(None);
        }
        let is_first = self.seen.is_none();
        self.seen = Some(change);
        let found = self.runs.as_ref().map(|(runs, _)| runs.unended()).transpose()?.unwrap_or_default();
        let now = Timestamp::now();
        let before = std::mem::take(&mut self.before);
        let found: Vec<Status> =
            found.into_iter().map(|(run, stages)| self.status(run, &stages, &before, now)).collect();
        let is_new = is_first || found != self.now;
        self.now = found;
        Ok(is_new.then_some(&self.now))
    }

    /// The runs at the last look.
    pub fn last(&self) -> &[Status] {
        &self.now
    }

    /// Opens the journals if they are not open, or if another file has replaced theirs.
    fn open(&mut self) -> Result<(), DbError> {
        let file = self.state.journal_file();
        if self.runs.as_ref().map(|(_, file)| *file) != file || self.runs.is_none() {
            let file = file.unwrap_or_default();
            let runs = self.state.runs()?.map(|runs| (runs, file));
            if self.runs.is_some() || runs.is_some() {
                self.seen = self.seen.map(|_| -2);
            }
            self.runs = runs;
        }
        Ok(())
    }

    fn status(
        &mut self,
        run: Run,
        stages: &[StageRun],
        before: &HashMap<StageAt, (Timestamp, u64)>,
        now: Timestamp,
    ) -> Status {
        let is_done = |stage: &&StageRun| {
            let is_good = stage.outcome.is_some_and(Outcome::is_ok);
            stage.instance.is_none() && (is_good || (stage.ended.is_some() && stage.session == run.sessions))
        };
        let is_working =
            |stage: &&StageRun| stage.started.is_some() && stage.ended.is_none() && stage.session == run.sessions;
        let mut working = Vec::new();
        for stage in stages.iter().filter(is_working).filter(|_| run.state == RunState::Running) {
            let who = (run.id.clone(), stage.stage.clone(), stage.instance.clone());
            working.push(Working {
                stage: stage.stage.clone(),
                instance: stage.instance.clone(),
                kind: stage.kind.clone(),
                attempt: stage.attempt,
                started: stage.started.clone(),
                bytes: stage.bytes,
                bytes_per_second: rate(stage, before.get(&who), now),
            });
            self.before.extend(stage.bytes.map(|bytes| (who, (now, bytes))));
        }
        let total = self
            .totals
            .entry((run.file.clone(), run.sha256.clone()))
            .or_insert_with(|| count_stages(&run.file, &run.sha256));
        Status {
            stages_done: stages.iter().filter(is_done).count(),
            stages_total: *total,
            working,
            resume: (run.state == RunState::Interrupted && run.inputs.is_some())
                .then(|| format!("tl run --resume {}", run.id)),
            run,
        }
    }
}

/// The rate of a stage. A retry counts its bytes from zero, from a start that is not recorded, so it has no rate at first.
fn rate(stage: &StageRun, before: Option<&(Timestamp, u64)>, now: Timestamp) -> Option<f64> {
    let bytes = stage.bytes?;
    let since = |then: Timestamp| now.duration_since(then).as_secs_f64();
    match before {
        Some((then, old)) if since(*then) >= 0.2 && bytes >= *old => Some((bytes - old) as f64 / since(*then)),
        _ if stage.attempt == 1 => {
            let began: Timestamp = stage.started.as_ref()?.parse().ok()?;
            Some(bytes as f64 / since(began).max(0.001))
        }
        _ => None,
    }
}

/// The number of stages of a file, if its text is still the one that runs.
fn count_stages(file: &Path, sha256: &str) -> Option<usize> {
    let content = fs::read(file).ok()?;
    if value::sha256(content) != sha256 {
        return None;
    }
    let (_, outline) = pipeline::load(file).ok()?;
    Some(outline.stages.len() + outline.finally.len())
}

//! Resumes runs that ended early, and keeps their work folders and journals.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Zoned;
use serde_json::{Map, Value as Json};

use super::event_sink::{EventSink, emit};
use super::options::Options;
use super::work::PipelineWork;
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::event::What;
use crate::notify::OutboxHandle;
use crate::open::{
    Loaded, RunEnvironment, check, database_error, input_texts, place_of, run_values, runnable, settle_with,
    state_error,
};
use crate::process;
use crate::state::{DbError, FoundRun, GroupLock, Journal, LastRun, PriorRun, RunEnd, Start, StateDir, WorkDir};
use crate::value::{Masker, object, sha256};

/// A run to resume.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// Its file, with the inputs and the environment of its start.
    pub loaded: Loaded,
    /// Its earlier sessions, from the journal.
    pub left: PriorRun,
}

/// How to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeMode {
    /// Run what is not finished.
    Finish,
    /// Run failed stages again, also in a run that ended well in spite of them.
    RerunFailed,
    /// Run the named stages again, whatever the outcome of the run.
    Stages,
}

impl ResumeMode {
    /// Why a run with this end cannot be resumed in this mode.
    fn refusal(self, end: Option<&RunEnd>) -> Option<(String, &'static str)> {
        match (self, end) {
            (Self::Finish, Some(end)) if end.is_good => {
                let help = "leave out `--resume` to start a new run, or name stages that are to be done again: `--from`, `--only`";
                Some((format!("ended in {}: nothing of it is left to do", end.outcome.word()), help))
            }
            (Self::RerunFailed, None) => {
                Some(("has no end: it was interrupted".to_owned(), "`--resume` does what is left of it"))
            }
            (Self::RerunFailed, Some(end)) if !end.has_failed => {
                let help = "`--resume` does what is left of a run; `--from STAGE` does a stage again";
                Some((format!("ended in {}, and no stage of it failed", end.outcome.word()), help))
            }
            _ => None,
        }
    }
}

/// Finds a run by its id, else the last run of a file, else the only run that can be resumed, and loads its file. Fails with
/// every reason that prevents it.
pub(crate) fn resume(
    state: &StateDir,
    run: Option<&str>,
    file: Option<&Path>,
    mode: ResumeMode,
) -> Result<Resumed, Vec<Diagnostic>> {
    let run = match run {
        Some(run) => run.to_owned(),
        None => last_to_resume(state, file, mode).map_err(|error| vec![error])?,
    };
    let left = state.prior_run(&run).map_err(|error| vec![database_error(&error)])?;
    let left = left.ok_or_else(|| {
        let message = format!("there is no run `{run}` here any more");
        vec![Diagnostic::usage(codes::TL0780, message).help("`tl history` lists the runs that are known here")]
    })?;
    let refuse = |message: String, help: &str| Err(vec![Diagnostic::usage(codes::TL0781, message).help(help)]);
    if let Some((why, help)) = mode.refusal(left.end.as_ref()) {
        return refuse(format!("the run `{run}` {why}"), help);
    }
    let Some(inputs) = left.start.inputs.clone() else {
        let message = format!(
            "the inputs of the run `{run}` were not kept: they hold a secret, or not all secrets could be read"
        );
        return refuse(message, "start a new run; give secrets by `secrets`");
    };
    let path = file.map_or_else(|| left.start.file.clone(), Path::to_owned);
    let environment = RunEnvironment::from_json(&left.start.fixed);
    let loaded = settle_with(check(&path)?, &path, &input_texts(&inputs), environment)?;
    runnable(&loaded)?;
    if loaded.pipeline.name.as_str() != left.start.pipeline {
        let message =
            format!("the run `{run}` is of `{}`, and this file is of `{}`", left.start.pipeline, loaded.pipeline.name);
        return refuse(message, "name the file of that pipeline, or start a new run");
    }
    Ok(Resumed { loaded, left })
}

fn last_to_resume(state: &StateDir, file: Option<&Path>, mode: ResumeMode) -> Result<String> {
    let mut runs = state.last_runs().map_err(|error| database_error(&error))?;
    if let Some(place) = file.map(place_of) {
        runs.retain(|last| place_of(&last.file) == place);
    }
    let none = |message: &str| {
        Diagnostic::usage(codes::TL0780, message)
            .help("leave out `--resume` to start a new run; `tl history` lists what ran")
    };
    let mut open = runs.iter().filter(|last| mode.refusal(last.end.as_ref()).is_none());
    match (open.next(), open.next()) {
        (Some(only), None) => Ok(only.run.clone()),
        (Some(one), Some(other)) => {
            let message = format!(
                "several runs can be resumed: `{}` of `{}`, `{}` of `{}`",
                one.run, one.pipeline, other.run, other.pipeline
            );
            Err(Diagnostic::usage(codes::TL0780, message).help("name the run, or its file"))
        }
        (None, _) if runs.is_empty() => Err(none("no run is known here that could be resumed")),
        (None, _) if mode == ResumeMode::RerunFailed => Err(none("no stage of the last run failed")),
        (None, _) => Err(none("the last run ended well: there is nothing to resume")),
    }
}

/// Locks the work folder of a run, new or resumed. One process at a time holds it.
pub(super) fn take_work(state: &StateDir, run: &str, resumed: Option<&PriorRun>) -> Result<WorkDir> {
    let busy = |message: String| {
        Diagnostic::new(codes::TL0782, Kind::Busy, message).help("let it end: `tl status` shows how far it is")
    };
    let begun = Instant::now();
    let folder = loop {
        if let Some(folder) = state.create_work(run).map_err(|error| state_error(&error))? {
            break folder;
        }
        // After a kill of `tl`, its supervisor holds the lock until the programs have ended.
        let is_ending = matches!(state.find_run(run), Ok(FoundRun::One(known)) if !known.process.is_alive());
        if !is_ending || begun.elapsed() > process::GRACE * 2 {
            return Err(busy(format!("the run `{run}` is at work in another process")));
        }
        thread::sleep(Duration::from_millis(50));
    };
    if let Some(left) = resumed {
        // Read again under the lock: another process may have resumed the run in between.
        let now = state.prior_run(run).map_err(|error| database_error(&error))?;
        if now.is_none_or(|now| (now.sessions, &now.end) != (left.sessions, &left.end)) {
            return Err(busy(format!("another process went on with the run `{run}` in this moment")));
        }
        let cannot = |error: std::io::Error| {
            let message = format!("the work folder `{}` cannot be used", folder.path().display());
            Diagnostic::failure(codes::TL0707, message)
                .cause(&error)
                .help("make sure that the state folder is writable")
        };
        folder.keep(&artifacts_of(left)).map_err(cannot)?;
    }
    Ok(folder)
}

/// Shares the locks of a run with the supervisor. If `tl` is killed, they stay locked until its programs have ended, so that no
/// resumed run starts beside them.
pub(super) fn share_locks(folder: &WorkDir, group: Option<GroupLock>) -> Result<Option<GroupLock>> {
    let mut locks = std::iter::once(folder.lock()).chain(group.as_ref().map(GroupLock::lock));
    let shared = locks.try_for_each(|lock| lock.map(process::hold));
    shared.map(|()| group).map_err(|error| {
        Diagnostic::failure(codes::TL0707, "the lock of the run cannot be shared")
            .cause(&error)
            .help("raise the limit of open files (`ulimit -n`)")
    })
}

/// Removes the work folders of ended processes, except those of runs that may be resumed: the last run of every other file. This
/// run replaces the last one of its own file.
pub(super) fn sweep(loaded: &Loaded, state: &StateDir, run: &str) {
    // Without the journal we cannot tell which runs may be resumed, so all folders stay.
    let Ok(runs) = state.last_runs() else { return };
    let is_other = |last: &LastRun| last.pipeline != loaded.pipeline.name.as_str() || last.file != loaded.path;
    let kept = runs.into_iter().filter(is_other).map(|last| last.run).chain([run.to_owned()]).collect();
    // The next run sweeps what is left.
    let _left = state.sweep_work(&kept);
}

/// The artifact files in the work folder that the journal names.
pub(super) fn artifacts_of(left: &PriorRun) -> HashSet<String> {
    let names = left.effects.iter().filter_map(|effect| effect.artifact.as_ref()?["file"].as_str());
    names.map(str::to_owned).collect()
}

/// Opens the journal of a run, new or resumed. Returns the value of `run` too, which is the same in all sessions. The inputs of
/// a new run are kept later, when it is known that they hold no secret; those of a run without inputs hold none.
pub(super) fn open_journal(
    loaded: &Loaded,
    options: &Options,
    run: &str,
) -> (Map<String, Json>, Result<Journal, DbError>) {
    let digest = sha256(loaded.document.source());
    if let Some(left) = &options.resumed {
        let journal = options.state.resume_journal(run, &digest);
        let fixed = object(left.start.fixed["run"].clone());
        return (fixed, journal);
    }
    let pipeline = loaded.pipeline.name.to_string();
    let fixed = run_values(&pipeline, run, &Zoned::now());
    let mut kept = loaded.environment.to_json();
    kept["run"] = Json::Object(fixed.clone());
    let start = Start {
        run: run.to_owned(),
        pipeline,
        file: loaded.path.clone(),
        sha256: digest,
        inputs: loaded.inputs.is_empty().then(Map::new),
        fixed: kept,
    };
    (fixed, options.state.begin_journal(&start))
}

/// Whether an input holds a secret: then the inputs are not kept.
pub(super) fn holds_secret(inputs: &Map<String, Json>, masker: &Masker) -> bool {
    let inputs = Json::Object(inputs.clone());
    let mut shown = inputs.clone();
    masker.mask_json(&mut shown);
    shown != inputs
}

/// The journal, or none if it fails and the run can do without.
pub(super) fn optional_journal(
    journal: Result<Journal, DbError>,
    options: &Options,
    outbox: &OutboxHandle,
) -> Result<Option<Journal>> {
    match journal {
        Ok(journal) => Ok(Some(journal)),
        // A resumed run without a journal would repeat and forget: fail.
        Err(error) if options.resumed.is_some() || matches!(error, DbError::Newer { .. }) => {
            Err(database_error(&error))
        }
        // A backup that cannot be resumed is better than none.
        Err(error) => {
            outbox.note(&error);
            Ok(None)
        }
    }
}

/// Removes the work folder of a finished run; otherwise only files no resume needs.
///
/// An artifact that waits there may be plaintext. It stays all the same until the run has ended well or a new run of its file
/// starts: the source of that plaintext is on the same machine.
pub(super) fn tidy_work(folder: WorkDir, is_done: bool, work: &PipelineWork, sink: &Mutex<EventSink>) {
    let kept = if is_done { HashSet::new() } else { work.kept_files() };
    if kept.is_empty() {
        remove_work(folder, sink);
    } else if let Err(error) = folder.keep(&kept) {
        let message = format!("the work folder `{}` could not be tidied", folder.path().display());
        emit(sink, What::Problem { error: Diagnostic::warning(codes::TL0708, message).cause(&error) });
    }
}

pub(super) fn remove_work(folder: WorkDir, sink: &Mutex<EventSink>) {
    let path = folder.path().display().to_string();
    if let Err(error) = folder.remove() {
        let message = format!("the work folder `{path}` could not be removed");
        emit(sink, What::Problem { error: Diagnostic::warning(codes::TL0708, message).cause(&error) });
    }
}

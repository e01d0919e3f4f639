//! A run that ended early, made ready to go on.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Zoned;
use serde_json::{Map, Value as Json};

use super::contexts::run_values;
use super::execute::{Options, state_error};
use super::keeper::{Keeper, database_error};
use super::on_record::{object, sha256};
use super::prepare::{Loaded, check, runnable, settle_with, spelled};
use super::surroundings::Surroundings;
use super::teller::{Teller, tell};
use super::versions::place_of;
use super::work::PipelineWork;
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::event::What;
use crate::process;
use crate::state::{DbError, FoundRun, GroupLock, Journal, LastRun, PriorRun, RunEnd, Start, StateDir, WorkDir};
use crate::value::Masker;

/// A run to be resumed, and its file.
#[derive(Debug)]
pub struct Resumed {
    /// The file, with the inputs and the surroundings that the run started with.
    pub loaded: Loaded,
    /// What the journal says.
    pub left: PriorRun,
}

/// Why somebody goes on with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// What is not done is to be done.
    Finish,
    /// What failed is to be tried again, also where the run ended well in spite of it.
    RerunFailed,
    /// Stages that are named are to be done again, however the run ended.
    Stages,
}

impl Wish {
    /// Why a run that ended so has nothing to go on with.
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

/// Finds the run of this id, or the last one of a file, or the only one that can be resumed, and reads its file. Fails with
/// all that keeps it from going on.
pub fn resume(
    state: &StateDir,
    run: Option<&str>,
    file: Option<&Path>,
    wish: Wish,
) -> Result<Resumed, Vec<Diagnostic>> {
    let run = match run {
        Some(run) => run.to_owned(),
        None => last_to_resume(state, file, wish).map_err(|error| vec![error])?,
    };
    let left = state.prior_run(&run).map_err(|error| vec![database_error(&error)])?;
    let left = left.ok_or_else(|| {
        let message = format!("there is no run `{run}` here any more");
        vec![Diagnostic::usage(codes::TL0780, message).help("`tl history` lists the runs that are known here")]
    })?;
    let refuse = |message: String, help: &str| Err(vec![Diagnostic::usage(codes::TL0781, message).help(help)]);
    if let Some((why, help)) = wish.refusal(left.end.as_ref()) {
        return refuse(format!("the run `{run}` {why}"), help);
    }
    let Some(inputs) = left.start.inputs.clone() else {
        let message = format!("the inputs of the run `{run}` hold a secret, and so were not kept");
        return refuse(message, "start a new run, and give secrets by `secrets`");
    };
    let path = file.map_or_else(|| left.start.file.clone(), Path::to_owned);
    let surroundings = Surroundings::of_kept(&left.start.fixed);
    let loaded = settle_with(check(&path)?, &path, &spelled(&inputs), surroundings)?;
    runnable(&loaded)?;
    if loaded.pipeline.name.as_str() != left.start.pipeline {
        let message =
            format!("the run `{run}` is of `{}`, and this file is of `{}`", left.start.pipeline, loaded.pipeline.name);
        return refuse(message, "name the file of that pipeline, or start a new run");
    }
    Ok(Resumed { loaded, left })
}

fn last_to_resume(state: &StateDir, file: Option<&Path>, wish: Wish) -> Result<String> {
    let mut runs = state.last_runs().map_err(|error| database_error(&error))?;
    if let Some(place) = file.map(place_of) {
        runs.retain(|last| place_of(&last.file) == place);
    }
    let none = |message: &str| {
        Diagnostic::usage(codes::TL0780, message)
            .help("leave out `--resume` to start a new run; `tl history` lists what ran")
    };
    let mut open = runs.iter().filter(|last| wish.refusal(last.end.as_ref()).is_none());
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
        (None, _) if wish == Wish::RerunFailed => Err(none("no stage of the last run failed")),
        (None, _) => Err(none("the last run ended well: there is nothing to resume")),
    }
}

/// Takes the work folder of a run, new or resumed. Only one process has it.
pub(super) fn take_work(state: &StateDir, run: &str, resumed: Option<&PriorRun>) -> Result<WorkDir> {
    let busy = |message: String| {
        Diagnostic::new(codes::TL0782, Kind::Busy, message).help("let it end: `tl status` shows how far it is")
    };
    let begun = Instant::now();
    let folder = loop {
        if let Some(folder) = state.create_work(run).map_err(|error| state_error(&error))? {
            break folder;
        }
        // Where tl was killed, its supervisor holds the lock until the programs have ended.
        let is_ending = matches!(state.find_run(run), Ok(FoundRun::One(known)) if !known.process.is_alive());
        if !is_ending || begun.elapsed() > process::GRACE * 2 {
            return Err(busy(format!("the run `{run}` is at work in another process")));
        }
        thread::sleep(Duration::from_millis(50));
    };
    if let Some(left) = resumed {
        // What was read of it before the folder was held may be old.
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

/// The supervisor of the programs holds the locks of a run too: while one of them runs, the run is at work.
pub(super) fn hold(folder: &WorkDir, group: Option<GroupLock>) -> Result<Option<GroupLock>> {
    let mut locks = std::iter::once(folder.lock()).chain(group.as_ref().map(GroupLock::lock));
    let shared = locks.try_for_each(|lock| lock.map(process::hold));
    shared.map(|()| group).map_err(|error| {
        Diagnostic::failure(codes::TL0707, "the lock of the run cannot be shared")
            .cause(&error)
            .help("raise the limit of open files (`ulimit -n`)")
    })
}

/// Removes the work folders of runs whose process is gone, but of those that may be resumed: the last run of each other
/// file. A run that has begun takes the place of the last one of its own.
pub(super) fn sweep(loaded: &Loaded, state: &StateDir, run: &str) {
    // Where it cannot be said which may be resumed, all stay.
    let Ok(runs) = state.last_runs() else { return };
    let is_other = |last: &LastRun| last.pipeline != loaded.pipeline.name.as_str() || last.file != loaded.path;
    let kept = runs.into_iter().filter(is_other).map(|last| last.run).chain([run.to_owned()]).collect();
    // What stays is swept by the next run.
    let _left = state.sweep_work(&kept);
}

/// The files in the work folder that a later session of a run may use.
pub(super) fn artifacts_of(left: &PriorRun) -> HashSet<String> {
    let names = left.effects.iter().filter_map(|effect| effect.artifact.as_ref()?["file"].as_str());
    names.map(str::to_owned).collect()
}

/// Opens the journal of a run, new or resumed, and gives what is fixed for all its sessions.
pub(super) fn open_journal(
    loaded: &Loaded,
    options: &Options,
    run: &str,
    masker: &Masker,
    lacks_secrets: bool,
) -> (Map<String, Json>, Result<Arc<Journal>, DbError>) {
    let digest = sha256(loaded.document.source());
    if let Some(left) = &options.resumed {
        let journal = options.state.resume_journal(run, &digest);
        let fixed = object(left.start.fixed["run"].clone());
        return (fixed, journal.map(Arc::new));
    }
    let pipeline = loaded.pipeline.name.to_string();
    let fixed = run_values(&pipeline, run, &Zoned::now());
    let mut kept = loaded.surroundings.kept();
    kept["run"] = Json::Object(fixed.clone());
    let inputs = Json::Object(loaded.inputs.clone());
    let mut shown = inputs.clone();
    masker.mask_json(&mut shown);
    let start = Start {
        run: run.to_owned(),
        pipeline,
        file: loaded.path.clone(),
        sha256: digest,
        inputs: (shown == inputs && !lacks_secrets).then(|| loaded.inputs.clone()),
        fixed: kept,
    };
    (fixed, options.state.begin_journal(&start).map(Arc::new))
}

/// The journal, as far as a run can do without it.
pub(super) fn journal_or_none(
    journal: Result<Arc<Journal>, DbError>,
    options: &Options,
    keeper: &Keeper,
) -> Result<Option<Arc<Journal>>> {
    match journal {
        Ok(journal) => Ok(Some(journal)),
        // What it does would be done again by the next one that goes on.
        Err(error) if options.resumed.is_some() => Err(database_error(&error)),
        // A run that cannot be resumed is better than none.
        Err(error) => {
            keeper.note(&error);
            Ok(None)
        }
    }
}

/// Removes the work of a run that is done, and of which the journal says so; of another one, what it has no use for when it
/// is resumed.
pub(super) fn put_away(folder: WorkDir, is_done: bool, work: &PipelineWork, teller: &Mutex<Teller>) {
    let kept = if is_done { HashSet::new() } else { work.kept_files() };
    if kept.is_empty() {
        remove_work(folder, teller);
    } else if let Err(error) = folder.keep(&kept) {
        let message = format!("the work folder `{}` could not be tidied", folder.path().display());
        tell(teller, What::Problem { error: Diagnostic::warning(codes::TL0708, message).cause(&error) });
    }
}

pub(super) fn remove_work(folder: WorkDir, teller: &Mutex<Teller>) {
    let path = folder.path().display().to_string();
    if let Err(error) = folder.remove() {
        let message = format!("the work folder `{path}` could not be removed");
        tell(teller, What::Problem { error: Diagnostic::warning(codes::TL0708, message).cause(&error) });
    }
}

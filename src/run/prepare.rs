//! All that a run needs before its first stage.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::deliveries::OnTheirWay;
use super::event_sink::{Teller, tell};
use super::group::{Turn, wait_for_turn};
use super::logs::RunLogs;
use super::on_record::begin;
use super::options::Options;
use super::prior_effects::Past;
use super::resume::{hold, journal_or_none, open_journal, sweep, take_work};
use super::work::PipelineWork;
use crate::audit::Log;
use crate::diagnostic::Diagnostic;
use crate::event::What;
use crate::graph::Plan;
use crate::inspect::text_of;
use crate::notify::{Keeper, RunPost};
use crate::open::{Contexts, Loaded, LogRecorder, audit_error, open_channels, open_places, read_secrets, state_error};
use crate::stages::{Ledger, Places, Shared};
use crate::state::{GroupLock, WorkDir};
use crate::value::{CancelReason, PositiveDuration};

/// All that a run works with.
pub(super) struct Ready {
    pub(super) work: Arc<PipelineWork>,
    pub(super) recorder: Arc<LogRecorder>,
    pub(super) shared: Arc<Shared>,
    pub(super) post: Arc<RunPost>,
    pub(super) audit: PathBuf,
    pub(super) folder: WorkDir,
    pub(super) group: Option<GroupLock>,
    /// What reading the secrets left of the time of the run.
    pub(super) left: Option<Duration>,
}

/// Why a run could not start, with what there is to tell somebody of it.
pub(super) struct NotReady {
    pub(super) folder: Option<WorkDir>,
    pub(super) errors: Vec<Diagnostic>,
    /// Another run is at work, and this one has nothing to do.
    pub(super) skipped: bool,
    /// If it came so far.
    pub(super) with: Option<Blocked>,
}

/// What a run that could not start can still tell with.
pub(super) struct Blocked {
    pub(super) recorder: Arc<LogRecorder>,
    pub(super) post: Arc<RunPost>,
    pub(super) shared: Arc<Shared>,
    pub(super) loaded: Loaded,
}

pub(super) fn prepare(
    loaded: Loaded,
    options: &Options,
    plan: Plan,
    run: &str,
    teller: &Mutex<Teller>,
) -> std::result::Result<Ready, Box<NotReady>> {
    let early = |folder, error| Box::new(NotReady { folder, errors: vec![error], skipped: false, with: None });
    options.state.create().map_err(|error| early(None, state_error(&error)))?;
    let audit = options.state.audit();
    let log = Log::open(&audit).map_err(|error| early(None, audit_error(&error)))?;
    let folder = take_work(&options.state, run, options.resumed.as_ref()).map_err(|error| early(None, error))?;

    let (start, limit) = (Instant::now(), loaded.pipeline.timeout.map(PositiveDuration::get));
    let is_over = || limit.is_some_and(|limit| start.elapsed() >= limit);
    let stopped = || options.cancel.reason().or_else(|| is_over().then_some(CancelReason::RunTimeout));
    let secrets = read_secrets(&loaded.document, &loaded.pipeline, &stopped);
    let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
    let masker = secrets.masker;
    teller.lock().unwrap_or_else(PoisonError::into_inner).masker = masker.clone();
    let recorder = Arc::new(LogRecorder::new(log, Some(run), masker.clone()));
    let (pipeline, mut errors) = (loaded.pipeline.name.to_string(), secrets.missing);
    let (fixed, journal) = open_journal(&loaded, options, run, &masker, !errors.is_empty());
    let keeper = Keeper::new(options.state.clone());
    let journal = journal_or_none(journal, options, &keeper).map_err(|error| early(None, error))?;
    teller.lock().unwrap_or_else(PoisonError::into_inner).journal.clone_from(&journal);
    let contexts = Contexts::new(&loaded, secrets.values, fixed);
    // Without a secret that is missing anyway, a place that wants it cannot be opened: that is told once.
    let mut unopened = Vec::new();
    let places = open_places(&loaded, &contexts).unwrap_or_else(|error| {
        unopened.push(error);
        Places::default()
    });
    let channels = open_channels(&loaded, &contexts);
    unopened.extend(channels.values().filter_map(|channel| channel.as_ref().err().cloned()));
    if errors.is_empty() {
        errors = unopened;
    }
    let post = Arc::new(RunPost {
        channels,
        keeper,
        recorder: recorder.clone(),
        masker: masker.clone(),
        file: loaded.path.clone(),
        inputs: loaded.inputs.clone(),
    });
    let shared = Arc::new(Shared {
        run: run.to_owned(),
        session: options.session(),
        pipeline,
        base: loaded.document.folder().to_owned(),
        state: options.state.path().to_owned(),
        program: options.program.clone(),
        places,
        post: post.clone(),
        recorder: recorder.clone(),
        ledger: Ledger::default(),
        deliveries: Arc::new(OnTheirWay::new(journal.clone(), options.resumed.as_ref())),
        masker,
        runtime: Handle::current(),
    });
    let mut skipped = false;
    let begun = if errors.is_empty() {
        let mut waiting = |warning| tell(teller, What::Problem { error: warning });
        match wait_for_turn(&loaded, &options.state, run, &options.cancel, &mut waiting) {
            Ok(Turn::Taken(group)) => begin(&loaded, &recorder, options)
                .map(|()| group)
                .and_then(|group| hold(&folder, group))
                .inspect(|_| sweep(&loaded, &options.state, run)),
            Ok(Turn::Skip(why)) => {
                skipped = true;
                Err(why.as_warning())
            }
            Err(error) => Err(error),
        }
        .map_err(|error| vec![error])
    } else {
        Err(errors)
    };
    match begun {
        // The channels that could be opened can still tell somebody.
        Err(errors) => {
            let with = Some(Blocked { recorder, post, shared, loaded });
            // What a run that is resumed has there, it has still.
            let folder = options.resumed.is_none().then_some(folder);
            Err(Box::new(NotReady { folder, errors, skipped, with }))
        }
        Ok(group) => {
            post.keeper.keep_text(loaded.pipeline.name.as_str(), &text_of(&loaded));
            let work = Arc::new(PipelineWork {
                past: options.resumed.as_ref().map(|left| Past::of(left, &plan)).unwrap_or_default(),
                loaded,
                plan: Arc::new(plan),
                contexts,
                shared: Arc::clone(&shared),
                recorder: Arc::clone(&recorder),
                folder: folder.path().to_owned(),
                logs: Arc::new(RunLogs::new(
                    options.state.logs(run),
                    journal.as_ref().map_or(1, |journal| journal.session()),
                )),
                journal,
                fresh: Mutex::default(),
                gone: Mutex::default(),
                left_out: Mutex::default(),
                keys: Mutex::default(),
                spools: Mutex::default(),
            });
            Ok(Ready { work, recorder, shared, post, audit, folder, group, left })
        }
    }
}

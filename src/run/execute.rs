use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::runtime::Handle;
use tracing::{Instrument as _, info_span};

use super::contexts::Contexts;
use super::deliveries::OnTheirWay;
use super::delivery::RunPost;
use super::drain::{drain, outbox_trouble};
use super::exit::{self, SKIPPED};
use super::group::{Turn, wait_for_turn};
use super::keeper::Keeper;
use super::logs::RunLogs;
use super::message::{self, News};
use super::notify;
use super::on_record::{begin, sign_end};
use super::prepare::{Loaded, open_channels, open_places, read_secrets};
use super::recall::Past;
use super::recorder::{LogRecorder, audit_error};
use super::resume::{hold, journal_or_none, open_journal, put_away, remove_work, sweep, take_work};
use super::teller::{Emit, Teller, end_journal, tell};
use super::uploads::{take_back_of_others, take_back_of_own};
use super::versions;
use super::work::PipelineWork;
use crate::audit::{Log, Record, RunEnd};
use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::engine::Engine;
use crate::event::{Outcome, What, called};
use crate::graph::{Plan, Selection};
use crate::pipeline::When;
use crate::stages::{Ledger, Places, Recorder, Shared};
use crate::state::{self, GroupLock, Left, StateDir, WorkDir};
use crate::value::{Cancel, CancelReason, PositiveDuration};

/// How to run a pipeline.
pub struct Options {
    /// Where state is kept.
    pub state: StateDir,
    /// Stops the run.
    pub cancel: Cancel,
    /// The program `tl` itself.
    pub program: PathBuf,
    /// The SHA-256 of the plan that is held to, if one is.
    pub plan: Option<String>,
    /// The run that goes on, if one does.
    pub resumed: Option<Left>,
    /// Which of its stages it is about; checked.
    pub selection: Selection,
}

impl Options {
    /// How often the run was started or resumed, this time included.
    pub(super) fn session(&self) -> u32 {
        self.resumed.as_ref().map_or(1, |left| left.sessions + 1)
    }
}

/// Runs a loaded pipeline to its end; returns the exit code. Everything that happens goes to `emit`.
pub async fn execute(loaded: Loaded, options: Options, emit: Emit) -> u8 {
    let resumed = options.resumed.as_ref();
    let run = resumed.map_or_else(|| ulid::Ulid::new().to_string(), |left| left.start.run.clone());
    let span = info_span!("run", %run, pipeline = %loaded.pipeline.name, session = options.session());
    run_in_span(loaded, options, run, emit).instrument(span).await
}

async fn run_in_span(loaded: Loaded, options: Options, run: String, emit: Emit) -> u8 {
    let plan = Plan::select(&loaded.pipeline, &options.selection);
    let teller = Arc::new(Mutex::new(Teller::new(run.clone(), &plan, emit)));
    teller.lock().unwrap_or_else(PoisonError::into_inner).tell(What::RunStarted {
        pipeline: loaded.pipeline.name.to_string(),
        file: loaded.document.name().to_owned(),
        stages: plan.stages.iter().map(|stage| stage.name.clone()).collect(),
        session: options.session(),
    });
    let began = Instant::now();
    let result = tokio::task::block_in_place(|| prepare(loaded, &options, plan, &run, &teller));
    let ready = match result {
        Ok(ready) => ready,
        Err(error) => return blocked(*error, began, &teller),
    };
    go(ready, options, began, &teller).await
}

/// All that a run works with.
struct Ready {
    work: Arc<PipelineWork>,
    recorder: Arc<LogRecorder>,
    shared: Arc<Shared>,
    post: Arc<RunPost>,
    audit: PathBuf,
    folder: WorkDir,
    group: Option<GroupLock>,
    /// What reading the secrets left of the time of the run.
    left: Option<Duration>,
}

/// Why a run could not start, with what there is to tell somebody of it.
struct NotReady {
    folder: Option<WorkDir>,
    errors: Vec<Diagnostic>,
    /// Another run is at work, and this one has nothing to do.
    skipped: bool,
    /// If it came so far.
    with: Option<Blocked>,
}

/// What a run that could not start can still tell with.
struct Blocked {
    recorder: Arc<LogRecorder>,
    post: Arc<RunPost>,
    shared: Arc<Shared>,
    loaded: Loaded,
}

fn prepare(
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
            post.keeper.keep_text(loaded.pipeline.name.as_str(), &versions::text_of(&loaded));
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

pub(super) fn state_error(error: &state::Error) -> Diagnostic {
    let diagnostic = Diagnostic::failure(codes::TL0707, error.to_string());
    let diagnostic = diagnostic.help("make room in the state folder, or name another one with `--state` or `TL_STATE`");
    match std::error::Error::source(error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

/// The run could not start: says so on record, to the people who want to know, and with the exit code.
fn blocked(not_ready: NotReady, began: Instant, teller: &Mutex<Teller>) -> u8 {
    let NotReady { folder, errors, skipped, with } = not_ready;
    let is_cancelled = errors.first().is_some_and(|first| first.kind == Kind::Cancelled);
    let exit_code = if skipped { SKIPPED } else { errors.first().map_or(1, |first| first.kind.exit_code()) };
    let outcome = match (skipped, is_cancelled) {
        (true, _) => Outcome::Skipped,
        (_, true) => Outcome::Cancelled,
        _ => Outcome::Blocked,
    };
    let (last, others) = match errors.split_last() {
        Some((last, others)) => (Some(last.clone()), others),
        None => (None, &[][..]),
    };
    for error in others {
        tell(teller, What::Problem { error: error.clone() });
    }
    if let Some(Blocked { recorder, post, shared, loaded }) = with {
        let lines: Vec<String> = errors.iter().map(Diagnostic::one_line).collect();
        let recorded = recorder.record(Record::RunFinished(RunEnd {
            pipeline: shared.pipeline.clone(),
            outcome: outcome.word().to_owned(),
            exit_code: None,
            errors: Some(lines.clone()),
            left_out: Vec::new(),
        }));
        let news = News {
            seconds: began.elapsed().as_secs_f64(),
            error: Some(lines.join("\n")),
            ..News::of(notify::when(outcome), &loaded.document, &loaded.pipeline)
        };
        tokio::task::block_in_place(|| notify::tell(&shared, &news, false, &mut |what| tell(teller, what)));
        outbox_trouble(&post, teller);
        match recorded.and_then(|()| recorder.checkpoint()) {
            Ok(signed) => tell(teller, What::Checkpoint { size: signed.size, root: signed.root }),
            Err(error) => tell(teller, What::Problem { error }),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let ended = What::RunEnded { outcome, exit_code, seconds, left_out: Vec::new(), error: last };
    end_journal(teller, &ended);
    folder.into_iter().for_each(|folder| remove_work(folder, teller));
    tell(teller, ended);
    exit_code
}

async fn go(ready: Ready, options: Options, began: Instant, teller: &Arc<Mutex<Teller>>) -> u8 {
    let Ready { work, recorder, shared, post, audit, folder, group, left } = ready;
    let (document, pipeline) = (&work.loaded.document, &work.loaded.pipeline);
    let news = |result| News::of(result, document, pipeline);
    tokio::task::block_in_place(|| {
        take_back_of_others(&work, &options.state, teller);
        drain(&post, &options.cancel, teller);
        // Who hears that it started waits to hear that it went well.
        if options.selection == Selection::All {
            let started = news(When::Started);
            notify::tell(&shared, &started, false, &mut |what| tell(teller, what));
        }
    });
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let max_parallel = pipeline.max_parallel.map_or(cores, |most| usize::from(most.get()));
    let details: Arc<Mutex<Vec<Json>>> = Arc::default();
    // Also where the run forgives it.
    let failed: Arc<AtomicBool> = Arc::default();
    let emit = {
        let (teller, details) = (Arc::clone(teller), Arc::clone(&details));
        let failed = Arc::clone(&failed);
        let mut in_instances = HashSet::new();
        move |what: What| {
            if let What::StageEnded { stage, instance, outcome, seconds, outputs, reason, error, .. } = &what {
                failed.fetch_or(error.is_some(), Ordering::Relaxed);
                let detail = error.as_ref().map(Diagnostic::one_line).or_else(|| reason.clone());
                let line = message::stage(&called(stage, instance.as_deref()), *outcome, *seconds, outputs, detail);
                // A stage with instances is told of by these.
                if instance.is_some() {
                    in_instances.insert(stage.clone());
                }
                if instance.is_some() || !in_instances.contains(stage) {
                    details.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            }
            tell(&teller, what);
        }
    };
    let engine = Engine::run(Arc::clone(&work.plan), Arc::clone(&work), max_parallel, left, options.cancel, emit);
    let finished = engine.await;
    let (outcome, exit_code) = exit::verdict(&finished);

    tokio::task::block_in_place(|| {
        // Said once, and at the end: while stages run, the engine alone says what happens.
        work.logs.problem().into_iter().for_each(|error| tell(teller, What::Problem { error }));
        let left_out = work.names_left_out(&finished.outcomes);
        let is_whole = left_out.is_empty() && !failed.load(Ordering::Relaxed);
        if is_whole && outcome.is_ok() {
            take_back_of_own(&work, &options.state, teller);
        }
        let recovered = outcome.is_ok()
            && pipeline.notify.iter().any(|entry| entry.when.contains(&When::Recovered))
            && notify::failed_before(&audit, &shared.pipeline, &shared.run);
        let seconds = began.elapsed().as_secs_f64();
        let end = RunEnd {
            pipeline: shared.pipeline.clone(),
            outcome: outcome.word().to_owned(),
            exit_code: Some(exit_code),
            errors: None,
            left_out: left_out.clone(),
        };
        let mut error = finished.record_error.or_else(|| finished.stopped.map(Diagnostic::from));
        let (signed, outcome, exit_code) = match sign_end(&recorder, end) {
            Ok(signed) => (Some(signed), outcome, exit_code),
            // A run whose end is not on record, or not signed, has not ended well, and nobody may hear that it did.
            Err(problem) => {
                let code = if problem.kind == Kind::Audit { problem.kind.exit_code() } else { exit_code.max(1) };
                error.get_or_insert(problem);
                (None, Outcome::Failure, code)
            }
        };
        let audit = signed.as_ref().map(|signed| json!({ "size": signed.size, "root": signed.root }));
        let stages = std::mem::take(&mut *details.lock().unwrap_or_else(PoisonError::into_inner));
        let text = error.as_ref().map(Diagnostic::one_line);
        let news = News { seconds, stages, audit, error: text, ..news(notify::when(outcome)) };
        let mut told = 0;
        // Nobody hears that a run went well which did not do all of it.
        if left_out.is_empty() || !outcome.is_ok() {
            notify::tell(&shared, &news, recovered && outcome.is_ok(), &mut |what| {
                told += 1;
                tell(teller, what);
            });
        }
        outbox_trouble(&post, teller);
        // What was told is on record too, under a signature of its own.
        let last = if told > 0 && signed.is_some() { recorder.checkpoint().map(Some) } else { Ok(signed) };
        match last {
            Ok(Some(signed)) => tell(teller, What::Checkpoint { size: signed.size, root: signed.root }),
            Ok(None) => {}
            Err(problem) => tell(teller, What::Problem { error: problem }),
        }
        let seconds = began.elapsed().as_secs_f64();
        let ended = What::RunEnded { outcome, exit_code, seconds, left_out, error };
        let is_written = end_journal(teller, &ended);
        put_away(folder, is_written && is_whole && (outcome.is_ok() || outcome == Outcome::Skipped), &work, teller);
        // The next run of the group may begin: all of this one is on record and told.
        group.into_iter().for_each(GroupLock::release);
        tell(teller, ended);
        exit_code
    })
}

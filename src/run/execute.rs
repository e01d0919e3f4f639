use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value as Json, json};
use tracing::{Instrument as _, info_span};

use super::event_sink::{Emit, EventSink, emit, end_journal, is_resumable};
use super::on_record::sign_end;
use super::options::Options;
use super::prepare::{Blocked, NotReady, Prepared, prepare};
use super::resume::{remove_work, tidy_work};
use super::uploads::{abort_superseded, abort_unclaimed};
use super::work::PipelineWork;
use crate::audit::{Record, RunEnd};
use crate::diagnostic::{Diagnostic, ExitCode, Kind};
use crate::engine::Engine;
use crate::event::{Assurance, Counts, Outcome, What, called};
use crate::graph::assurance::assurance;
use crate::graph::verdict::{Finished, verdict};
use crate::graph::{Plan, Selection};
use crate::notify::{self, History, drain, outbox_trouble};
use crate::open::{Loaded, LogRecorder, News, place_of, stage_values};
use crate::pipeline::When;
use crate::stages::{Checkpoint, Recorder as _, Shared};
use crate::state::GroupLock;
use crate::value::utc;

/// Runs a loaded pipeline to its end and returns the exit code. Every event goes to `emit`.
pub(crate) async fn execute(loaded: Loaded, options: Options, emit: Emit) -> ExitCode {
    let resumed = options.resumed.as_ref();
    let run = resumed.map_or_else(|| ulid::Ulid::new().to_string(), |left| left.start.run.clone());
    let span = info_span!("run", %run, pipeline = %loaded.pipeline.name, session = options.session());
    run_in_span(loaded, options, run, emit).instrument(span).await
}

async fn run_in_span(loaded: Loaded, options: Options, run: String, emit: Emit) -> ExitCode {
    let plan = Plan::select(&loaded.pipeline, &options.selection);
    let sink = Arc::new(Mutex::new(EventSink::new(run.clone(), &plan, emit)));
    sink.lock().unwrap_or_else(PoisonError::into_inner).emit(What::RunStarted {
        pipeline: loaded.pipeline.name.to_string(),
        file: loaded.document.name().to_owned(),
        stages: plan.stages.iter().map(|stage| stage.name.clone()).collect(),
        session: options.session(),
    });
    let began = Instant::now();
    let (path, inputs) = (loaded.path.clone(), loaded.inputs.clone());
    let result = tokio::task::block_in_place(|| prepare(loaded, &options, plan, &run, &sink));
    match result {
        Ok(prepared) => run_stages(prepared, options, began, &sink).await,
        Err(error) => tokio::task::block_in_place(|| {
            if error.with.is_none() {
                let mut tell = |what| super::event_sink::emit(&sink, what);
                notify::send_directly(&options.state, (&path, inputs), &run, &error.errors, &mut tell);
            }
            blocked(*error, began, &sink)
        }),
    }
}

/// Ends a run that could not start: the record, the messages, the events and the exit code.
fn blocked(not_ready: NotReady, began: Instant, sink: &Mutex<EventSink>) -> ExitCode {
    let NotReady { folder, errors, skipped, with } = not_ready;
    let is_cancelled = errors.first().is_some_and(|first| first.kind == Kind::Cancelled);
    let cause = || errors.first().map_or(ExitCode::Failure, |first| first.kind.exit_code());
    let exit_code = if skipped { ExitCode::NothingDone } else { cause() };
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
        emit(sink, What::Problem { error: error.clone() });
    }
    if let Some(Blocked { recorder, notifier, shared, loaded }) = with {
        let lines: Vec<String> = errors.iter().map(Diagnostic::one_line).collect();
        let recorded = recorder.record(Record::RunFinished(RunEnd {
            pipeline: shared.pipeline.clone(),
            outcome: outcome.word().to_owned(),
            exit_code: None,
            errors: Some(lines.clone()),
            left_out: Vec::new(),
            counts: None,
        }));
        let news = News {
            seconds: began.elapsed().as_secs_f64(),
            error: Some(lines.join("\n")),
            ..News::of(notify::when(outcome), &loaded.document, &loaded.pipeline)
        };
        tokio::task::block_in_place(|| notify::send(&shared, &news, false, &mut |what| emit(sink, what)));
        outbox_trouble(&notifier, &mut |what| emit(sink, what));
        match recorded.and_then(|()| recorder.checkpoint()) {
            Ok(signed) => emit(sink, What::Checkpoint { size: signed.size, root: signed.root }),
            Err(error) => emit(sink, What::Problem { error }),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let (left_out, counts, resumable) = (Vec::new(), Counts::default(), is_resumable(sink));
    let ended = What::RunEnded { outcome, exit_code, seconds, left_out, counts, resumable, error: last };
    end_journal(sink, &ended);
    folder.into_iter().for_each(|folder| remove_work(folder, sink));
    emit(sink, ended);
    exit_code
}

async fn run_stages(prepared: Prepared, options: Options, began: Instant, sink: &Arc<Mutex<EventSink>>) -> ExitCode {
    tokio::task::block_in_place(|| before_stages(&prepared, &options, sink));
    let work = Arc::clone(&prepared.work);
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let max_parallel = work.loaded.pipeline.max_parallel.map_or(cores, |most| usize::from(most.get()));
    let ended: Arc<Mutex<EndedStages>> = Arc::default();
    let on_event = {
        let (sink, ended) = (Arc::clone(sink), Arc::clone(&ended));
        move |what: What| {
            ended.lock().unwrap_or_else(PoisonError::into_inner).add(&what);
            emit(&sink, what);
        }
    };
    let cancel = options.cancel.clone();
    let finished = Engine::run(Arc::clone(&work.plan), work, max_parallel, prepared.left, cancel, on_event).await;
    let stages = std::mem::take(&mut *ended.lock().unwrap_or_else(PoisonError::into_inner));
    tokio::task::block_in_place(|| end(prepared, &options, finished, stages, began, sink))
}

/// What comes before the first stage: old uploads, waiting messages, the message that the run started.
fn before_stages(prepared: &Prepared, options: &Options, sink: &Mutex<EventSink>) {
    let Prepared { work, shared, notifier, .. } = prepared;
    abort_superseded(work, &options.state, sink);
    drain(notifier, &options.cancel, &mut |what| emit(sink, what));
    // A monitor takes `started` as a promise of a success. A run of selected stages sends none, so it must not promise one.
    if options.selection == Selection::All {
        let started = News::of(When::Started, &work.loaded.document, &work.loaded.pipeline);
        notify::send(shared, &started, false, &mut |what| emit(sink, what));
    }
}

/// The stages that have ended, for the message about the run.
#[derive(Default)]
struct EndedStages {
    values: Vec<Json>,
    with_instances: HashSet<String>,
    /// Those that failed, also where `continue-on-error` forgives that.
    failed: HashSet<String>,
    /// Those that did their work in this session.
    done: HashSet<String>,
}

impl EndedStages {
    fn add(&mut self, what: &What) {
        let What::StageEnded { stage, instance, outcome, seconds, did, reason, error, recalled, .. } = what else {
            return;
        };
        if error.is_some() {
            self.failed.insert(stage.clone());
        }
        if outcome.is_ok() && !recalled {
            self.done.insert(stage.clone());
        }
        match instance {
            Some(_) => {
                self.with_instances.insert(stage.clone());
            }
            // The instances of a stage end before it, and the message names each of them.
            None if self.with_instances.contains(stage) => return,
            None => {}
        }
        let detail = error.as_ref().map(Diagnostic::one_line).or_else(|| reason.clone());
        self.values.push(stage_values(&called(stage, instance.as_deref()), *outcome, *seconds, did, detail));
    }
}

/// How a run ended.
struct End {
    outcome: Outcome,
    exit_code: ExitCode,
    left_out: Vec<String>,
    counts: Counts,
    error: Option<Diagnostic>,
}

impl End {
    /// The occasion of its messages. A success that does not count is none: what was to be delivered was skipped.
    fn occasion(&self) -> When {
        let is_uncounted = self.outcome == Outcome::Success && self.counts.assurance.is_none();
        notify::when(if is_uncounted { Outcome::Skipped } else { self.outcome })
    }
}

/// Whether a run that ended well counts as a success, and for which time.
fn counts(
    work: &PipelineWork,
    options: &Options,
    finished: &Finished,
    stages: &EndedStages,
    left_out: &[String],
) -> Counts {
    let plan = &work.plan;
    let assurance = match assurance(plan, &finished.outcomes, &|stage| stages.failed.contains(stage), left_out) {
        Ok(assurance) => assurance,
        Err(why) => return Counts { reason: Some(why), ..Counts::default() },
    };
    let delivers = |name: &&String| {
        let planned = plan.stages.iter().find(|planned| planned.name == **name);
        planned.and_then(|planned| planned.stage.kind()).is_some_and(|kind| kind.delivery().is_some())
    };
    // A session that only proves an old delivery does not make it a new one.
    let earlier = || {
        let left = options.resumed.as_ref().filter(|_| assurance != Assurance::Complete)?;
        left.done_at.iter().filter(|(name, _)| delivers(name)).map(|(_, at)| at.clone()).max()
    };
    let is_new = stages.done.iter().any(|name| delivers(&name));
    let at = (!is_new).then(earlier).flatten().unwrap_or_else(|| utc(jiff::Timestamp::now()));
    Counts { assurance: Some(assurance), at: Some(at), reason: None }
}

/// Whether a success of this time is newer than those that the file had: an old delivery may have been proven again.
fn is_news(options: &Options, file: &Path, at: &str) -> bool {
    // If the journal cannot be read, a message too many is better than none.
    let runs = options.state.runs().ok().flatten();
    let known = runs.and_then(|runs| runs.last_good(&utc(jiff::Timestamp::now())).ok()).unwrap_or_default();
    let mut goods =
        known.iter().filter(|known| place_of(&known.file) == place_of(file)).filter_map(|known| known.good.as_deref());
    goods.all(|good| good < at)
}

/// Ends a run whose stages have ended. The order matters: the record first, then the messages, then the journal, so that
/// nobody hears of a success that is not on record, and a run killed in between can be resumed.
fn end(
    prepared: Prepared,
    options: &Options,
    finished: Finished,
    stages: EndedStages,
    began: Instant,
    sink: &Mutex<EventSink>,
) -> ExitCode {
    let Prepared { work, recorder, shared, notifier, audit, folder, group, .. } = prepared;
    // Reported once, at the end: while stages run, the engine is the only emitter.
    work.logs.problem().into_iter().for_each(|error| emit(sink, What::Problem { error }));
    let (outcome, exit_code) = verdict(&finished);
    let left_out = work.plan.names_left_out(work.memory().left_out.clone(), &finished.outcomes);
    let is_whole = left_out.is_empty() && stages.failed.is_empty();
    if is_whole && outcome.is_ok() {
        abort_unclaimed(&work, &options.state, sink);
    }
    let counts =
        if outcome.is_ok() { counts(&work, options, &finished, &stages, &left_out) } else { Counts::default() };
    let seconds = began.elapsed().as_secs_f64();
    let error = finished.record_error.or_else(|| finished.stopped.map(Diagnostic::from));
    let mut end = End { outcome, exit_code, left_out, counts, error };
    let is_news = end.counts.at.as_ref().is_some_and(|at| is_news(options, &work.loaded.path, at));
    let recovered = end.counts.at.as_ref().filter(|_| is_news).is_some_and(|at| {
        let past = History { audit: &audit, pipeline: &shared.pipeline, file: &work.loaded.path, run: &shared.run };
        notify::has_recovered(&options.state, &past, at)
    });
    let signed = sign(&recorder, &shared.pipeline, &mut end, sink);
    let news = News {
        seconds,
        stages: stages.values,
        audit: signed.as_ref().map(|signed| json!({ "size": signed.size, "root": signed.root })),
        error: end.error.as_ref().map(Diagnostic::one_line).or_else(|| end.counts.reason.clone()),
        counts: is_news,
        ..News::of(end.occasion(), &work.loaded.document, &work.loaded.pipeline)
    };
    let sent = notify_end(&shared, &news, &end, recovered, sink);
    outbox_trouble(&notifier, &mut |what| emit(sink, what));
    // The messages are on record too, under a signature of their own.
    let last = if sent && signed.is_some() { recorder.checkpoint().map(Some) } else { Ok(signed) };
    match last {
        Ok(Some(signed)) => emit(sink, What::Checkpoint { size: signed.size, root: signed.root }),
        Ok(None) => {}
        Err(error) => emit(sink, What::Problem { error }),
    }
    let End { outcome, exit_code, left_out, counts, error } = end;
    let (seconds, resumable) = (began.elapsed().as_secs_f64(), is_resumable(sink));
    let ended = What::RunEnded { outcome, exit_code, seconds, left_out, counts, resumable, error };
    let is_written = end_journal(sink, &ended);
    tidy_work(folder, is_written && is_whole && (outcome.is_ok() || outcome == Outcome::Skipped), &work, sink);
    // The next run of the group may begin: this one is on record, and its messages are sent.
    group.into_iter().for_each(GroupLock::release);
    emit(sink, ended);
    exit_code
}

/// Records and signs the end. A run whose end is not on record or not signed has failed, whatever its stages did.
fn sign(recorder: &LogRecorder, pipeline: &str, end: &mut End, sink: &Mutex<EventSink>) -> Option<Checkpoint> {
    let record = RunEnd {
        pipeline: pipeline.to_owned(),
        outcome: end.outcome.word().to_owned(),
        exit_code: Some(end.exit_code.into()),
        errors: None,
        left_out: end.left_out.clone(),
        counts: end.outcome.is_ok().then(|| end.counts.assurance.map_or("none", Assurance::word).to_owned()),
    };
    let problem = match sign_end(recorder, record) {
        Ok(signed) => return Some(signed),
        Err(problem) => problem,
    };
    end.exit_code = if problem.kind == Kind::Audit { problem.kind.exit_code() } else { end.exit_code.or_failure() };
    end.outcome = Outcome::Failure;
    end.counts = Counts::default();
    match &end.error {
        Some(known) if *known == problem => {}
        Some(_) => emit(sink, What::Problem { error: problem }),
        None => end.error = Some(problem),
    }
    None
}

/// Sends the messages about the end. Returns whether there were any. A run that proves an old delivery again sends no message
/// of success, nor does a partial run that does not count.
fn notify_end(shared: &Shared, news: &News<'_>, end: &End, recovered: bool, sink: &Mutex<EventSink>) -> bool {
    let mut sent = false;
    let is_told = match end.outcome {
        Outcome::Success => news.counts || end.left_out.is_empty() && end.counts.assurance.is_none(),
        Outcome::Warning => news.counts || end.left_out.is_empty(),
        _ => true,
    };
    if is_told {
        notify::send(shared, news, recovered && end.outcome.is_ok(), &mut |what| {
            sent = true;
            emit(sink, what);
        });
    }
    sent
}

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::{Instrument as _, info_span};

use super::end::{EndedStages, end};
use super::event_sink::{Emit, EventSink, emit, end_journal, is_resumable};
use super::on_record::sign_end;
use super::options::Options;
use super::prepare::{Blocked, NotReady, Prepared, prepare};
use super::resume::remove_work;
use super::uploads::abort_superseded;
use crate::audit::{Record, RunEnd};
use crate::diagnostic::{Diagnostic, ExitCode, Kind};
use crate::engine::Engine;
use crate::event::{Counts, Outcome, What};
use crate::graph::assurance::Recovery;
use crate::graph::{Plan, Selection};
use crate::notify::{self, drain, outbox_trouble};
use crate::open::{Loaded, News};
use crate::pipeline::When;
use crate::stages::Recorder as _;
use crate::state::{Finish, StateDir};
use crate::value::CancelReason;

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
            blocked(*error, &options.state, began, &sink)
        }),
    }
}

/// Ends a run that could not start: the record, the messages, the events and the exit code.
fn blocked(not_ready: NotReady, state: &StateDir, began: Instant, sink: &Mutex<EventSink>) -> ExitCode {
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
        let mut tell = |what| emit(sink, what);
        tokio::task::block_in_place(|| {
            if outcome == Outcome::Blocked {
                let id = notify::message_id(&shared);
                notify::send_blocked(state, &loaded, &notifier, (&id, &shared.run), &news, &errors, &mut tell);
            } else {
                notify::send(&shared, &news, Recovery::default(), &mut || {}, &mut tell);
            }
        });
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
    options.last_words.set(last_words(&prepared, began));
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

/// Writes that the run was cancelled, for one that cannot end by itself any more.
fn last_words(prepared: &Prepared, began: Instant) -> impl FnOnce() + Send + 'static {
    let (recorder, journal) = (Arc::clone(&prepared.recorder), prepared.work.journal.clone());
    let pipeline = prepared.shared.pipeline.clone();
    move || {
        let (outcome, exit_code) = (Outcome::Cancelled, ExitCode::Cancelled);
        let end = RunEnd {
            pipeline,
            outcome: outcome.word().to_owned(),
            exit_code: Some(exit_code.into()),
            errors: None,
            left_out: Vec::new(),
            counts: None,
        };
        // Nobody is left to hear of an error.
        let _unsigned = sign_end(&recorder, end);
        let (seconds, left_out, counts) = (began.elapsed().as_secs_f64(), Vec::new(), Counts::default());
        let error = Some(Diagnostic::from(CancelReason::Requested));
        let finish = Finish { outcome, exit_code, seconds, left_out, counts, error };
        let _unwritten = journal.map(|journal| journal.finish(finish));
    }
}

/// What comes before the first stage: old uploads, waiting messages, the message that the run started.
fn before_stages(prepared: &Prepared, options: &Options, sink: &Mutex<EventSink>) {
    let Prepared { work, shared, notifier, .. } = prepared;
    abort_superseded(work, &options.state, sink);
    drain(notifier, &options.cancel, &mut |what| emit(sink, what));
    // A monitor takes `started` as a promise of a success. A run of selected stages sends none, so it must not promise one.
    if options.selection == Selection::All {
        let started = News::of(When::Started, &work.loaded.document, &work.loaded.pipeline);
        notify::send(shared, &started, Recovery::default(), &mut || {}, &mut |what| emit(sink, what));
    }
}

//! Ends a run whose stages have ended: what it counts as, its record, its messages, its journal.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::event_sink::{EventSink, emit, end_journal, is_resumable};
use super::on_record::sign_end;
use super::options::Options;
use super::prepare::Prepared;
use super::resume::tidy_work;
use super::uploads::abort_unclaimed;
use super::work::PipelineWork;
use crate::audit::RunEnd;
use crate::diagnostic::{Diagnostic, ExitCode, Kind};
use crate::event::{Assurance, Counts, Outcome, What, called};
use crate::graph::assurance::{Recovery, assurance};
use crate::graph::verdict::{Finished, verdict, warned};
use crate::inspect::odd_size;
use crate::notify::{self, History, outbox_trouble};
use crate::open::{LogRecorder, News, place_of, stage_values};
use crate::pipeline::When;
use crate::stages::{Checkpoint, Recorder as _, Shared};
use crate::state::GroupLock;
use crate::value::utc;

/// The size of a run is compared with at most this many earlier ones.
const MOST_COMPARED: usize = 30;

/// The stages that have ended, for the message about the run.
#[derive(Default)]
pub(super) struct EndedStages {
    values: Vec<Json>,
    with_instances: HashSet<String>,
    /// Those that failed, also where `continue-on-error` forgives that.
    failed: HashSet<String>,
    /// Those with an instance that was skipped.
    partial: HashSet<String>,
    /// Those that did their work in this session.
    done: HashSet<String>,
    files: Option<u64>,
    bytes: Option<u64>,
}

impl EndedStages {
    pub(super) fn add(&mut self, what: &What) {
        let What::StageEnded { stage, instance, outcome, seconds, did, reason, error, recalled, .. } = what else {
            return;
        };
        if error.is_some() {
            self.failed.insert(stage.clone());
        }
        if instance.is_some() && *outcome == Outcome::Skipped {
            self.partial.insert(stage.clone());
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
        let add =
            |sum: &mut Option<u64>, more: Option<u64>| *sum = more.map_or(*sum, |more| Some(sum.unwrap_or(0) + more));
        add(&mut self.files, did.files);
        add(&mut self.bytes, did.delivered);
        let detail = error.as_ref().map(Diagnostic::one_line).or_else(|| reason.clone());
        self.values.push(stage_values(&called(stage, instance.as_deref()), *outcome, *seconds, did, detail));
    }

    /// What became of an instance of a stage that did not do its work.
    fn undone(&self, stage: &str) -> Option<&'static str> {
        let failed = self.failed.contains(stage).then_some("failed");
        failed.or_else(|| self.partial.contains(stage).then_some("was skipped in part"))
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
    let assurance = match assurance(plan, &finished.outcomes, &|stage| stages.undone(stage), left_out) {
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
    Counts { assurance: Some(assurance), at: Some(at), ..Counts::default() }
}

/// What is odd about the size of a run that counts as a success, and whether the file makes a warning of it.
fn odd_size_of(work: &PipelineWork, options: &Options, counts: &Counts) -> Option<(Diagnostic, bool)> {
    counts.assurance?;
    let limit = work.loaded.pipeline.expect.as_ref().and_then(|expect| expect.size_change);
    // Nothing is odd if the journal cannot be read.
    let earlier = options.state.runs().ok()??.sizes(&work.loaded.path, &work.shared.run, MOST_COMPARED).ok()?;
    odd_size(&earlier, counts, limit).map(|odd| (odd, limit.is_some()))
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
pub(super) fn end(
    prepared: Prepared,
    options: &Options,
    finished: Finished,
    stages: EndedStages,
    began: Instant,
    sink: &Mutex<EventSink>,
) -> ExitCode {
    let Prepared { work, recorder, shared, notifier, audit, folder, group, .. } = prepared;
    options.last_words.clear();
    notify::forget_blocked(&options.state, &work.loaded.path);
    // Reported once, at the end: while stages run, the engine is the only emitter.
    work.logs.problem().into_iter().for_each(|error| emit(sink, What::Problem { error }));
    let (mut outcome, mut exit_code) = verdict(&finished);
    let left_out = work.plan.names_left_out(work.memory().left_out.clone(), &finished.outcomes);
    let is_whole = left_out.is_empty() && stages.failed.is_empty();
    if is_whole && outcome.is_ok() {
        abort_unclaimed(&work, &options.state, sink);
    }
    let mut counts =
        if outcome.is_ok() { counts(&work, options, &finished, &stages, &left_out) } else { Counts::default() };
    (counts.files, counts.bytes) = (stages.files, stages.bytes);
    let odd = odd_size_of(&work, options, &counts);
    if let Some((odd, is_warning)) = &odd {
        emit(sink, What::Problem { error: odd.clone() });
        if *is_warning {
            (outcome, exit_code) = warned((outcome, exit_code));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let error = finished.record_error.or_else(|| finished.stopped.map(Diagnostic::from));
    let mut end = End { outcome, exit_code, left_out, counts, error };
    let is_news = end.counts.at.as_ref().is_some_and(|at| is_news(options, &work.loaded.path, at));
    let ends = end.counts.at.as_ref().filter(|_| is_news).map(|at| {
        let past = History { audit: &audit, pipeline: &shared.pipeline, file: &work.loaded.path, run: &shared.run };
        notify::recovery(&options.state, &past, at)
    });
    let signed = sign(&recorder, &shared.pipeline, &mut end, sink);
    let news = News {
        seconds,
        stages: stages.values,
        audit: signed.as_ref().map(|signed| json!({ "size": signed.size, "root": signed.root })),
        error: end
            .error
            .as_ref()
            .or(odd.as_ref().map(|(odd, _)| odd))
            .map(Diagnostic::one_line)
            .or_else(|| end.counts.reason.clone()),
        counts: is_news && end.outcome.is_ok(),
        ..News::of(end.occasion(), &work.loaded.document, &work.loaded.pipeline)
    };
    let forget_late = || {
        if let (true, Some(at)) = (is_news, &end.counts.at) {
            notify::forget_late(&options.state, &work.loaded.path, at);
        }
    };
    let sent = notify_end(&shared, &news, &end, ends.unwrap_or_default(), &forget_late, sink);
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
fn notify_end(
    shared: &Shared,
    news: &News<'_>,
    end: &End,
    ends: Recovery,
    kept: &dyn Fn(),
    sink: &Mutex<EventSink>,
) -> bool {
    let mut sent = false;
    let is_told = match end.outcome {
        Outcome::Success => news.counts || end.left_out.is_empty() && end.counts.assurance.is_none(),
        Outcome::Warning => news.counts || end.left_out.is_empty(),
        _ => true,
    };
    if is_told {
        let ends = if end.outcome.is_ok() { ends } else { Recovery::default() };
        notify::send(shared, news, ends, &mut || kept(), &mut |what| {
            sent = true;
            emit(sink, what);
        });
    }
    sent
}

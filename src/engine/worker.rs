//! One unit, from its first attempt to its outcome.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;

use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::event::Outcome;
use crate::expression::Status;
use crate::graph::Job;
use crate::graph::outcome::{Done, Ended, one_each};
use crate::graph::retry::{self, NextAttempt};
use crate::pipeline::Retry;
use crate::stages::{Meter, Record, StageNotice};
use crate::value::{Cancel, CancelReason};

/// A future that can be handed to another thread.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Reports what a stage prints or warns of.
pub type Emit = Arc<dyn Fn(usize, StageNotice) + Send + Sync>;

/// The result of a stage, for the expressions of others.
#[derive(Clone, Debug)]
pub struct StageResult {
    /// Its outcome.
    pub outcome: Outcome,
    /// Its outputs.
    pub outputs: Arc<Json>,
}

/// The stages that have ended.
#[derive(Debug, Default)]
pub struct Results(RwLock<BTreeMap<usize, StageResult>>);

impl Results {
    /// The result of a stage, if it has ended.
    pub fn get(&self, stage: usize) -> Option<StageResult> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&stage).cloned()
    }

    pub(super) fn set(&self, stage: usize, result: StageResult) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(stage, result);
    }
}

/// One instance of a stage with a matrix.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Counted from 0, in the order of the matrix.
    pub number: usize,
    /// Its name in messages.
    pub label: String,
    /// Its values.
    pub matrix: Arc<Json>,
}

/// A stage, or an instance of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Which {
    pub(super) stage: usize,
    pub(super) instance: Option<usize>,
}

impl From<usize> for Which {
    fn from(stage: usize) -> Self {
        Self { stage, instance: None }
    }
}

/// The instances of a stage.
#[derive(Debug)]
pub struct Expansion {
    /// In the order of the matrix.
    pub instances: Vec<Instance>,
    /// Those whose values are `null`: they have nothing to do.
    pub skipped: Vec<usize>,
}

/// The inputs of one attempt.
pub struct Attempt {
    /// Which unit.
    pub unit: usize,
    /// Which instance of its only stage.
    pub instance: Option<Instance>,
    /// Counted from 1.
    pub number: u32,
    /// When to stop.
    pub cancel: Cancel,
    /// The progress of each stage of the unit.
    pub meters: Vec<Arc<Meter>>,
    /// Reports what its stages print or warn of.
    pub emit: Emit,
    /// The stages that have ended.
    pub results: Arc<Results>,
}

impl Attempt {
    /// What it is an attempt at.
    pub fn job(&self) -> Job {
        Job { unit: self.unit, instance: self.instance.as_ref().map(|instance| instance.number) }
    }
}

/// What the engine runs.
pub trait Work: Send + Sync + 'static {
    /// Whether the `if` of a stage holds.
    fn condition(&self, stage: usize, results: &Results, status: Status) -> Result<bool>;

    /// The instances of a stage with a matrix.
    fn expand(&self, stage: usize, results: &Results) -> Result<Expansion>;

    /// Makes one attempt at a unit; each of its stages ends exactly once. Ends soon after `cancel` is cancelled.
    fn attempt(self: Arc<Self>, attempt: Attempt) -> BoxFuture<Vec<Ended>>;

    /// Commits the effects of a unit's stages, durably, before anything that depends on it starts.
    fn commit(&self, done: Vec<Done>) -> BoxFuture<Result<()>> {
        drop(done);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Queues a record of a stage's beginning or end. Never waits for the disk.
    fn note(&self, record: Record) -> Result<()>;

    /// Why queued records could not be written, if so; told once.
    fn refused(&self) -> Option<Diagnostic> {
        None
    }
}

/// A worker's report to the dispatcher.
pub(super) enum Report {
    Attempting { job: Job, number: u32, meters: Vec<Arc<Meter>> },
    Retrying { job: Job, number: u32, delay: Duration, stage: usize, error: Diagnostic },
    Stage { job: Job, stage: usize, notice: StageNotice },
    Ended { job: Job, ended: Vec<Ended> },
    Committed { job: Job, result: Result<()> },
}

/// The retry and timeout of a unit.
pub(super) struct Policy {
    pub(super) stages: Vec<usize>,
    pub(super) retry: Retry,
    pub(super) timeout: Option<Duration>,
}

/// How long to wait after a cancel before abandoning an attempt that ignores it: a read from a dead network disk cannot be
/// ended.
const GRACE: Duration = Duration::from_secs(30);

/// Makes attempts until one succeeds, or no further one is due.
pub(super) async fn work<W: Work>(
    work: Arc<W>,
    job: Job,
    instance: Option<Instance>,
    policy: Policy,
    cancel: Cancel,
    results: Arc<Results>,
    reports: mpsc::Sender<Report>,
) {
    let start = Instant::now();
    let mut number = 1;
    let mut ended = one_each(&policy.stages, Vec::new(), || CancelReason::Requested.into());
    // A stop may come between the decision to start and now, and as the wait for the next attempt ends.
    while cancel.reason().is_none() {
        // Each attempt has its own timeout. Cancelling the unit cancels the attempt.
        let attempt_cancel = Cancel::default();
        let meters: Vec<Arc<Meter>> = policy.stages.iter().map(|_| Arc::default()).collect();
        let attempting = Report::Attempting { job, number, meters: meters.clone() };
        if reports.send(attempting).await.is_err() {
            return;
        }
        let attempt = Attempt {
            unit: job.unit,
            instance: instance.clone(),
            number,
            cancel: attempt_cancel.clone(),
            meters,
            emit: emit(job, &reports),
            results: Arc::clone(&results),
        };
        ended = one_attempt(&work, attempt, &policy, &cancel, &attempt_cancel).await;
        if cancel.is_cancelled() {
            break;
        }
        let next = retry::next(&policy.retry, number, start.elapsed(), &ended, fastrand::f64());
        let Some(NextAttempt { delay, stage, error }) = next else { break };
        let retrying = Report::Retrying { job, number, delay, stage, error: error.clone() };
        if reports.send(retrying).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(delay) => {}
            // The attempt that failed is on record. What was cancelled is the next one.
            stop = cancel.cancelled() => ended = one_each(&policy.stages, Vec::new(), || stop.into()),
        }
        number += 1;
    }
    // The dispatcher waits for every unit that it started; it is gone only when the process is.
    drop(reports.send(Report::Ended { job, ended }).await);
}

/// Reports wait for the dispatcher, so that a child that prints without end does not fill the memory.
fn emit(job: Job, reports: &mpsc::Sender<Report>) -> Emit {
    let reports = reports.clone();
    Arc::new(move |stage, notice| {
        // Each stage has a thread of its own, which may block until there is room.
        if let Err(mpsc::error::TrySendError::Full(report)) = reports.try_send(Report::Stage { job, stage, notice }) {
            // The dispatcher is gone only when the process is.
            drop(reports.blocking_send(report));
        }
    })
}

async fn one_attempt<W: Work>(
    work: &Arc<W>,
    attempt: Attempt,
    policy: &Policy,
    cancel: &Cancel,
    attempt_cancel: &Cancel,
) -> Vec<Ended> {
    // The call itself is within the task, too: a panic of it must not end the worker, for which the dispatcher waits.
    let work = Arc::clone(work);
    let mut task = tokio::spawn(async move { work.attempt(attempt).await }.in_current_span());
    let limit = async {
        match policy.timeout {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let stop = tokio::select! {
        joined = &mut task => return settle(joined, policy),
        () = limit => CancelReason::StageTimeout,
        stop = cancel.cancelled() => stop,
    };
    attempt_cancel.cancel(stop);
    match timeout(GRACE, &mut task).await {
        Ok(joined) => settle(joined, policy),
        Err(_) => {
            let message = "the stage did not end when it was stopped, and was left alone";
            let error = || Diagnostic { message: message.to_owned(), ..Diagnostic::from(stop) };
            one_each(&policy.stages, Vec::new(), error)
        }
    }
}

/// The ends of a unit's attempt. A panic is a failure of the unit.
fn settle(joined: std::result::Result<Vec<Ended>, tokio::task::JoinError>, policy: &Policy) -> Vec<Ended> {
    match joined {
        Ok(given) => one_each(&policy.stages, given, || internal(None)),
        Err(error) => one_each(&policy.stages, Vec::new(), || internal(Some(&error))),
    }
}

fn internal(error: Option<&tokio::task::JoinError>) -> Diagnostic {
    let message = match error {
        Some(error) if error.is_panic() => "tl made a mistake in this stage (panic); the rest of the run goes on",
        _ => "the stage gave no result",
    };
    Diagnostic::new(codes::TL0903, Kind::Failure, message).help("please report this with the output above")
}

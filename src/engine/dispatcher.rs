use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{Instrument as _, info};

use super::worker::{Instance, Policy, Report, Results, StageResult, Which, Work, work};
use crate::diagnostic::Diagnostic;
use crate::event::{Outcome, What};
use crate::graph::outcome::{self, End, EndedInstance};
use crate::graph::verdict::Finished;
use crate::graph::{Decision, Job, Machine, Plan};
use crate::stages::{Meter, Record, StageName, StageNotice, summary};
use crate::value::{Cancel, CancelReason};

/// How often progress is emitted.
const TICK: Duration = Duration::from_millis(200);
/// How many reports wait for the dispatcher before workers block.
const WAITING_REPORTS: usize = 1_024;

/// Runs one plan.
pub struct Engine<W> {
    plan: Arc<Plan>,
    work: Arc<W>,
    emit: Box<dyn FnMut(What) + Send>,
    machine: Machine,
    results: Arc<Results>,
    reports: mpsc::Sender<Report>,
    active: HashMap<Job, Active>,
    /// Units whose attempts have ended and whose effects are being committed.
    settling: HashMap<Job, Vec<(Which, End)>>,
    /// The instances of each stage with a matrix, with the end of those that have ended.
    instances: HashMap<usize, Vec<(Instance, Option<EndedInstance>)>>,
    begun: HashMap<Which, Instant>,
    warned: HashSet<Which>,
    /// The outputs of most programs.
    nothing: Arc<Json>,
    finished: Vec<Option<Outcome>>,
    errors: Vec<(usize, Diagnostic)>,
    stopped: Option<CancelReason>,
    record_error: Option<Diagnostic>,
}

struct Active {
    cancel: Cancel,
    meters: Vec<(Arc<Meter>, u64)>,
}

impl<W: Work> Engine<W> {
    /// Runs a plan to its end. Events go to `emit`, in order, from here alone. `cancel` stops the run; `timeout` does too.
    pub async fn run(
        plan: Arc<Plan>,
        work: Arc<W>,
        max_parallel: usize,
        timeout: Option<Duration>,
        cancel: Cancel,
        emit: impl FnMut(What) + Send + 'static,
    ) -> Finished {
        let (reports, mut incoming) = mpsc::channel(WAITING_REPORTS);
        let count = plan.stages.len();
        let mut engine = Self {
            machine: Machine::new(Arc::clone(&plan), max_parallel),
            plan,
            work,
            emit: Box::new(emit),
            results: Arc::default(),
            reports,
            active: HashMap::new(),
            settling: HashMap::new(),
            instances: HashMap::new(),
            begun: HashMap::new(),
            warned: HashSet::new(),
            nothing: Arc::new(Json::Object(Map::new())),
            finished: vec![None; count],
            errors: Vec::new(),
            stopped: None,
            record_error: None,
        };
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !engine.decide() {
            let over = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // In this order: a child that prints without end must not delay a stop.
                biased;
                reason = cancel.cancelled(), if engine.stopped.is_none() => engine.stop(reason),
                // The time of a run is that of its main part: `finally` happens whatever the time.
                () = over, if engine.stopped.is_none() && !engine.machine.is_in_finally() => engine.stop(CancelReason::RunTimeout),
                report = incoming.recv() => match report {
                    Some(report) => engine.report(report),
                    None => unreachable!("the engine itself holds a sender"),
                },
                _ = ticks.tick(), if !engine.active.is_empty() => engine.tell_progress(),
            }
        }
        engine.finish()
    }

    fn finish(self) -> Finished {
        let outcome = |(stage, outcome): (usize, Option<Outcome>)| {
            // The machine finishes only when it was told of every stage; a test holds it to that.
            outcome.unwrap_or_else(|| unreachable!("stage {stage} has no outcome"))
        };
        Finished {
            outcomes: self.finished.into_iter().enumerate().map(outcome).collect(),
            errors: self.errors,
            stopped: self.stopped,
            record_error: self.record_error,
        }
    }

    /// Carries out the machine's decisions; `true` once the run has finished.
    fn decide(&mut self) -> bool {
        if let Some(error) = self.work.refused() {
            self.unrecorded(error);
        }
        while let Some(decision) = self.machine.next_decision() {
            match decision {
                Decision::Start(job) => self.start(job),
                Decision::Evaluate(stage) => self.evaluate(stage),
                Decision::Expand(stage) => self.expand(stage),
                Decision::Stop(job) => {
                    if let Some(active) = self.active.get(&job) {
                        active.cancel.cancel(CancelReason::Sibling);
                    }
                }
                Decision::End { stage, instance, outcome, reason } => {
                    self.end(Which { stage, instance }, End::without_run(outcome, reason));
                }
                Decision::Complete { stage, outcome } => self.complete(stage, outcome),
                Decision::Finish => return true,
            }
        }
        false
    }

    fn evaluate(&mut self, stage: usize) {
        let status = self.machine.status(stage);
        match self.work.condition(stage, &self.results, status) {
            Ok(holds) => self.machine.judged(stage, holds),
            // An `if` without a value is a failure of its stage, not a silent "no".
            Err(error) => self.fail(stage, error),
        }
    }

    fn expand(&mut self, stage: usize) {
        match self.work.expand(stage, &self.results) {
            Ok(expansion) => {
                let strategy = self.plan.stages[stage].stage.strategy.as_ref();
                let most = strategy.and_then(|strategy| strategy.max_parallel).map(|most| usize::from(most.get()));
                let fail_fast = strategy.is_some_and(|strategy| strategy.fail_fast);
                let count = expansion.instances.len();
                self.begun.insert(stage.into(), Instant::now());
                self.instances.insert(stage, expansion.instances.into_iter().map(|one| (one, None)).collect());
                self.machine.expanded(stage, count, most, fail_fast, &expansion.skipped);
            }
            Err(error) => self.fail(stage, error),
        }
    }

    /// A stage fails before it could start: its `if` or its matrix has no value. `continue-on-error` forgives this too.
    fn fail(&mut self, stage: usize, error: Diagnostic) {
        let end = End::failed(error, self.plan.stages[stage].stage.continue_on_error);
        self.machine.failed(stage, end.outcome);
        self.end(stage.into(), end);
    }

    /// Ends a stage once all its instances have ended.
    fn complete(&mut self, stage: usize, outcome: Outcome) {
        let instances = self.instances.get(&stage).map(Vec::as_slice).unwrap_or_default();
        let ended = instances.iter().map(|(_, ended)| ended.as_ref());
        self.end(stage.into(), outcome::of_instances(&self.plan.stages[stage].outputs, outcome, ended));
    }

    fn start(&mut self, job: Job) {
        let stages = self.plan.units[job.unit].stages.clone();
        let cancel = Cancel::default();
        self.active.insert(job, Active { cancel: cancel.clone(), meters: Vec::new() });
        for &stage in &stages {
            let which = Which { stage, instance: job.instance };
            self.begun.insert(which, Instant::now());
            let name = self.name(which);
            self.note(Record::StageStarted { name });
        }
        let last = self.plan.policy(job.unit);
        let timeout = last.timeout.map(crate::value::PositiveDuration::get);
        let policy = Policy { retry: last.retry.clone(), timeout, stages: stages.clone() };
        let instance =
            stages.first().and_then(|&stage| self.instance(Which { stage, instance: job.instance })).cloned();
        let (stage_work, results, reports) = (Arc::clone(&self.work), Arc::clone(&self.results), self.reports.clone());
        let worker = work(stage_work, job, instance, policy, cancel, results, reports);
        tokio::spawn(worker.in_current_span());
    }

    fn instance(&self, which: Which) -> Option<&Instance> {
        self.instances.get(&which.stage)?.get(which.instance?).map(|(instance, _)| instance)
    }

    /// The name of a stage, and the label of its instance.
    fn called(&self, which: Which) -> (String, Option<String>) {
        let instance = self.instance(which).map(|instance| instance.label.clone());
        (self.plan.stages[which.stage].name.clone(), instance)
    }

    /// Stops the run. A stage of `finally` that runs already goes on to its own limit: one that begins after the stop does, too.
    fn stop(&mut self, reason: CancelReason) {
        self.stopped = Some(reason);
        let is_finally = |job: &Job| self.plan.stages[self.plan.units[job.unit].stages[0]].is_finally;
        let main = self.active.iter().filter(|(job, _)| !is_finally(job) || self.record_error.is_some());
        main.for_each(|(_, active)| active.cancel.cancel(reason));
        self.machine.stop();
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Attempting { job, number, meters } => {
                for &stage in &self.plan.units[job.unit].stages {
                    let which = Which { stage, instance: job.instance };
                    // Only warnings of the last attempt count: the cause of an earlier one may be gone.
                    self.warned.remove(&which);
                    let (name, instance) = self.called(which);
                    let kind = self.plan.stages[stage].stage.kind_name().to_owned();
                    (self.emit)(What::StageStarted { stage: name, instance, kind, attempt: number });
                }
                if let Some(active) = self.active.get_mut(&job) {
                    active.meters = meters.into_iter().map(|meter| (meter, 0)).collect();
                }
            }
            Report::Retrying { job, number, delay, stage, error } => {
                self.tell_progress_of(job);
                let which = Which { stage, instance: job.instance };
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                let name = self.name(which);
                self.note(Record::StageRetrying { name, attempt: number, delay_ms, error: error.one_line() });
                let (stage, instance) = self.called(which);
                info!(stage, instance, attempt = number, delay_ms, "tried again later");
                (self.emit)(What::StageRetrying { stage, instance, attempt: number, delay_ms, error });
            }
            // An abandoned attempt may still report after its end.
            Report::Stage { job, .. } if !self.active.contains_key(&job) => {}
            Report::Stage { job, stage, notice } => {
                let which = Which { stage, instance: job.instance };
                let (stage, instance) = self.called(which);
                match notice {
                    StageNotice::Line(stream, line) => (self.emit)(What::StageOutput { stage, instance, stream, line }),
                    StageNotice::Warning(warning) => {
                        self.warned.insert(which);
                        (self.emit)(What::StageWarning { stage, instance, warning });
                    }
                }
            }
            Report::Ended { job, ended } => {
                self.tell_progress_of(job);
                self.active.remove(&job);
                let which = |stage| Which { stage, instance: job.instance };
                let warned = |stage| self.warned.contains(&which(stage));
                let ends = outcome::of(&self.plan, ended, &warned, self.stopped.is_some());
                self.commit(job, ends.into_iter().map(|(stage, end)| (which(stage), end)).collect());
            }
            Report::Committed { job, result } => {
                if let Err(error) = result {
                    self.unrecorded(error);
                }
                let ends = self.settling.remove(&job).unwrap_or_default();
                let outcomes: Vec<(usize, Outcome)> =
                    ends.iter().map(|(which, end)| (which.stage, end.outcome)).collect();
                ends.into_iter().for_each(|(which, end)| self.end(which, end));
                self.machine.ended(job, &outcomes);
            }
        }
    }

    /// Commits the effects of a unit, durably. Nothing that waits for it starts before: else a session that is killed could
    /// leave a stage done whose needs are not.
    fn commit(&mut self, job: Job, ends: Vec<(Which, End)>) {
        let done = ends.iter().filter_map(|(which, end)| end.done(which.stage, which.instance)).collect();
        self.settling.insert(job, ends);
        let (committing, reports) = (self.work.commit(done), self.reports.clone());
        tokio::spawn(async move {
            let result = committing.await;
            // The dispatcher waits for it; it is gone only when the process is.
            drop(reports.send(Report::Committed { job, result }).await);
        });
    }

    fn end(&mut self, which: Which, end: End) {
        let End { outcome, outputs, reason, error, is_recalled: recalled } = end;
        let seconds = self.begun.remove(&which).map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let detail = error.as_ref().map(Diagnostic::one_line).or_else(|| reason.clone());
        let (name, word) = (self.name(which), outcome.word().to_owned());
        self.note(Record::StageEnded { name, outcome: word, detail, recalled });
        if let (Some(error), Outcome::Failure) = (&error, outcome) {
            self.errors.push((which.stage, error.clone()));
        }
        let (stage, instance) = self.called(which);
        info!(stage, instance, outcome = outcome.word(), recalled, "ended");
        if let Some(number) = which.instance {
            if let Some((_, ended)) = self.instances.get_mut(&which.stage).and_then(|all| all.get_mut(number)) {
                debug_assert!(ended.is_none(), "an instance ends once");
                *ended = Some(EndedInstance { outcome, outputs: Json::Object(outputs.clone()), is_recalled: recalled });
            }
        } else {
            debug_assert!(self.finished[which.stage].is_none(), "a stage ends once");
            let shared =
                if outputs.is_empty() { Arc::clone(&self.nothing) } else { Arc::new(Json::Object(outputs.clone())) };
            self.results.set(which.stage, StageResult { outcome, outputs: shared });
            self.finished[which.stage] = Some(outcome);
        }
        let did = summary(self.plan.stages[which.stage].stage.kind_name(), &outputs);
        (self.emit)(What::StageEnded { stage, instance, outcome, seconds, outputs, did, reason, error, recalled });
    }

    /// The name of a stage, and of its instance, in the audit log.
    fn name(&self, which: Which) -> StageName {
        let (stage, instance) = self.called(which);
        StageName { stage, instance }
    }

    fn note(&mut self, record: Record) {
        if let Err(error) = self.work.note(record) {
            self.unrecorded(error);
        }
    }

    /// Stops the run: nothing happens that cannot be recorded.
    fn unrecorded(&mut self, error: Diagnostic) {
        if self.record_error.is_none() {
            self.record_error = Some(error);
            if self.stopped.is_none() {
                self.stop(CancelReason::Requested);
            }
        }
    }

    fn tell_progress(&mut self) {
        let jobs: Vec<Job> = self.active.keys().copied().collect();
        for job in jobs {
            self.tell_progress_of(job);
        }
    }

    fn tell_progress_of(&mut self, job: Job) {
        let Some(active) = self.active.get_mut(&job) else { return };
        let mut moved = Vec::new();
        for ((meter, last), &stage) in active.meters.iter_mut().zip(&self.plan.units[job.unit].stages) {
            let bytes = meter.bytes();
            if bytes != *last {
                *last = bytes;
                moved.push((Which { stage, instance: job.instance }, bytes));
            }
        }
        for (which, bytes) in moved {
            let (stage, instance) = self.called(which);
            (self.emit)(What::StageProgress { stage, instance, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::{Attempt, BoxFuture, Expansion};
    use super::*;
    use crate::diagnostic::Result;
    use crate::diagnostic::codes;
    use crate::expression::Status;
    use crate::graph::outcome::{Ended, OwnEnd};
    use crate::pipeline::Document;
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// What a fake stage does, by its name.
    #[derive(Clone, Copy)]
    enum Act {
        Succeed,
        Fail,
        FailTransient(u32),
        Panic,
        Hang,
        Warn,
        Instances(&'static [Act]),
    }

    struct Fake {
        acts: Vec<Act>,
        running: AtomicUsize,
        most: AtomicUsize,
    }

    impl Work for Fake {
        fn condition(&self, _: usize, _: &Results, _: Status) -> Result<bool> {
            Ok(true)
        }

        fn attempt(self: Arc<Self>, attempt: Attempt) -> BoxFuture<Vec<Ended>> {
            Box::pin(async move {
                let stage = attempt.unit;
                self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let fail = |transient| Err(Diagnostic::failure(codes::TL0651, "no").transient(transient));
                let act = match (self.acts[stage], &attempt.instance) {
                    (Act::Instances(acts), Some(instance)) => acts[instance.number],
                    (act, _) => act,
                };
                let result = match act {
                    Act::Instances(_) => panic!("a stage has instances, and an instance has none"),
                    Act::Fail => fail(false),
                    Act::FailTransient(until) if attempt.number < until => fail(true),
                    Act::Succeed | Act::FailTransient(_) => Ok(Map::new()),
                    Act::Warn => {
                        (attempt.emit)(stage, StageNotice::Warning(Diagnostic::warning(codes::TL0613, "hm")));
                        Ok(Map::new())
                    }
                    Act::Panic => {
                        self.running.fetch_sub(1, Ordering::SeqCst);
                        panic!("as asked")
                    }
                    Act::Hang => Err(attempt.cancel.cancelled().await.into()),
                };
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.running.fetch_sub(1, Ordering::SeqCst);
                vec![Ended { stage, end: result.map_or_else(OwnEnd::Failed, OwnEnd::Done) }]
            })
        }

        fn expand(&self, stage: usize, _: &Results) -> Result<Expansion> {
            let instance = |number| Instance { number, label: number.to_string(), matrix: Arc::default() };
            let Act::Instances(acts) = self.acts[stage] else { panic!("no instances") };
            Ok(Expansion { instances: (0..acts.len()).map(instance).collect(), skipped: Vec::new() })
        }

        fn note(&self, _: Record) -> Result<()> {
            Ok(())
        }
    }

    async fn run(
        stages: &str,
        acts: &[Act],
        parallel: usize,
        cancel: Cancel,
        timeout: Option<Duration>,
    ) -> (Finished, Vec<String>, usize) {
        let text = format!("version: 1\nname: t\nstages:\n{stages}");
        let document = Document::parse("t".to_owned(), PathBuf::new(), text).unwrap();
        let plan = Arc::new(Plan::new(&serde_json::from_value(document.value().clone()).unwrap()));
        let work = Arc::new(Fake { acts: acts.to_vec(), running: AtomicUsize::new(0), most: AtomicUsize::new(0) });
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let emit = move |what: What| {
            let value = serde_json::to_value(&what).unwrap();
            seen.lock().unwrap().push(format!(
                "{} {}",
                value["event"].as_str().unwrap(),
                value["stage"].as_str().unwrap()
            ));
        };
        let finished = Engine::run(plan, Arc::clone(&work), parallel, timeout, cancel, emit).await;
        let events = events.lock().unwrap().clone();
        (finished, events, work.most.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn independent_stages_run_at_the_same_time_up_to_the_limit() {
        let stages = "  a: { run: [x] }\n  b: { run: [x] }\n  c: { run: [x] }\n  d: { needs: [a, b, c], run: [x] }\n";
        for (parallel, most) in [(1, 1), (2, 2), (8, 3)] {
            let start = Instant::now();
            let (finished, _, seen) = run(stages, &[Act::Succeed; 4], parallel, Cancel::default(), None).await;
            assert_eq!(finished.outcomes, [Outcome::Success; 4]);
            assert_eq!(seen, most);
            assert_eq!(start.elapsed().as_secs(), [4, 3, 2][[1, 2, 8].iter().position(|p| *p == parallel).unwrap()]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_transient_failures_are_tried_again() {
        let retry = "retry: { attempts: 3, delay: 10s, factor: 2, max-delay: 1m }";
        let stages =
            format!("  a: {{ {retry}, run: [x] }}\n  b: {{ {retry}, run: [x] }}\n  c: {{ {retry}, run: [x] }}\n");
        let acts = [Act::FailTransient(3), Act::Fail, Act::FailTransient(9)];
        let (finished, events, _) = run(&stages, &acts, 8, Cancel::default(), None).await;
        assert_eq!(finished.outcomes, [Outcome::Success, Outcome::Failure, Outcome::Failure]);
        let retries = |name: &str| events.iter().filter(|event| **event == format!("stage-retrying {name}")).count();
        assert_eq!([retries("a"), retries("b"), retries("c")], [2, 0, 2]);
    }

    /// Attempts of a second, a wait of half a minute to a minute behind each.
    #[tokio::test(start_paused = true)]
    async fn attempts_and_waits_together_end_after_half_an_hour() {
        let stages = "  a: { retry: { attempts: 100, delay: 1m, factor: 1, max-delay: 1m }, run: [x] }\n";
        for seed in 0..20 {
            fastrand::seed(seed);
            let start = Instant::now();
            let acts = [Act::FailTransient(1_000)];
            let (finished, events, _) = run(stages, &acts, 1, Cancel::default(), None).await;
            assert_eq!(finished.outcomes, [Outcome::Failure]);
            let (minutes, retries) = (
                start.elapsed().as_secs_f64() / 60.0,
                events.iter().filter(|event| *event == "stage-retrying a").count(),
            );
            assert!(
                (28.9..=30.1).contains(&minutes) && (29..60).contains(&retries),
                "seed {seed}: {retries} in {minutes} min"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_one_failed_stage() {
        let stages = "  a: { run: [x] }\n  b: { run: [x] }\n  c: { needs: a, run: [x] }\n";
        let (finished, ..) = run(stages, &[Act::Panic, Act::Succeed, Act::Succeed], 8, Cancel::default(), None).await;
        assert_eq!(finished.outcomes, [Outcome::Failure, Outcome::Success, Outcome::Skipped]);
        assert_eq!(finished.errors[0].1.code, codes::TL0903);
    }

    #[tokio::test(start_paused = true)]
    async fn time_limits_end_a_stage_and_a_run() {
        let stages = "  a: { timeout: 5s, run: [x] }\n  b: { needs: a, run: [x] }\n";
        let (finished, ..) = run(stages, &[Act::Hang, Act::Succeed], 8, Cancel::default(), None).await;
        assert_eq!(finished.outcomes, [Outcome::Failure, Outcome::Skipped]);
        assert_eq!(finished.stopped, None);

        let stages = "  a: { run: [x] }\n  b: { needs: a, run: [x] }\nfinally:\n  f: { run: [x] }\n";
        let limit = Some(Duration::from_mins(1));
        let (finished, ..) = run(stages, &[Act::Hang, Act::Succeed, Act::Succeed], 8, Cancel::default(), limit).await;
        assert_eq!(finished.outcomes, [Outcome::Failure, Outcome::Cancelled, Outcome::Success]);
        assert_eq!(finished.stopped, Some(CancelReason::RunTimeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_run_still_does_finally() {
        let cancel = Cancel::default();
        let later = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            later.cancel(CancelReason::Requested);
        });
        let stages = "  a: { run: [x] }\n  b: { run: [x] }\n  c: { needs: b, run: [x] }\nfinally:\n  f: { run: [x] }\n";
        let acts = [Act::Succeed, Act::Hang, Act::Succeed, Act::Warn];
        let (finished, events, _) = run(stages, &acts, 8, cancel, None).await;
        assert_eq!(finished.outcomes, [Outcome::Success, Outcome::Cancelled, Outcome::Cancelled, Outcome::Warning]);
        assert_eq!(events.last().map(String::as_str), Some("stage-ended f"));
    }

    #[tokio::test(start_paused = true)]
    async fn instances_end_one_by_one_and_their_stage_with_the_worst_of_them() {
        let strategy = |more: &str| format!("  a: {{ strategy: {{ matrix: {{ m: [1] }}{more} }}, run: [x] }}\n");
        let two = strategy("") + "  b: { needs: a, run: [x] }\n";
        let acts = [Act::Instances(&[Act::Succeed, Act::Warn, Act::Succeed]), Act::Succeed];
        let (finished, events, most) = run(&two, &acts, 8, Cancel::default(), None).await;
        assert_eq!(finished.outcomes, [Outcome::Warning, Outcome::Success]);
        assert_eq!(most, 3);
        assert_eq!(events.iter().filter(|event| *event == "stage-ended a").count(), 4);

        let acts = [Act::Instances(&[Act::Fail, Act::Succeed, Act::Succeed]), Act::Succeed];
        let one = strategy(", max-parallel: 1") + "  b: { needs: a, run: [x] }\n";
        let (finished, events, most) = run(&one, &acts, 8, Cancel::default(), None).await;
        assert_eq!(finished.outcomes, [Outcome::Failure, Outcome::Skipped]);
        assert_eq!((most, events.iter().filter(|event| *event == "stage-started a").count()), (1, 3));
        assert_eq!(finished.errors.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn fail_fast_ends_the_other_instances() {
        let stages = "  a: { strategy: { matrix: { m: [1] }, fail-fast: true, max-parallel: 2 }, run: [x] }\n";
        let acts = [Act::Instances(&[Act::Fail, Act::Hang, Act::Succeed])];
        let (finished, events, _) = run(stages, &acts, 8, Cancel::default(), None).await;
        assert_eq!(finished.outcomes, [Outcome::Failure]);
        assert_eq!(finished.stopped, None);
        assert_eq!(events.iter().filter(|event| *event == "stage-started a").count(), 2);
        assert_eq!(events.iter().filter(|event| *event == "stage-ended a").count(), 4);
    }
}

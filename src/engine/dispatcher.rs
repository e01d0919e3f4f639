use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::worker::{Ended, Policy, Report, Results, StageResult, Work, work};
use crate::diagnostic::{Diagnostic, Kind};
use crate::event::{Outcome, What};
use crate::graph::{Decision, Machine, Plan};
use crate::stages::{Cancel, Meter, Stop, Told};

/// Progress is told this often.
const TICK: Duration = Duration::from_millis(200);
/// What workers may say before they have to wait.
const WAITING_REPORTS: usize = 1_024;

/// The code of a stage that had nothing to do.
const SKIP: &str = crate::stages::SKIP;

/// What became of a run's stages.
#[derive(Debug)]
pub struct Finished {
    /// One for each stage, in the order of the plan.
    pub outcomes: Vec<Outcome>,
    /// Why each failed stage failed, in the order in which they ended.
    pub errors: Vec<(usize, Diagnostic)>,
    /// Why the run was stopped, if it was.
    pub stopped: Option<Stop>,
    /// What could not be put on record; the run was stopped for it.
    pub record_error: Option<Diagnostic>,
}

/// Runs one plan.
pub struct Engine<W> {
    plan: Arc<Plan>,
    work: Arc<W>,
    emit: Box<dyn FnMut(What) + Send>,
    machine: Machine,
    results: Arc<Results>,
    reports: mpsc::Sender<Report>,
    active: HashMap<usize, Active>,
    begun: Vec<Option<Instant>>,
    warned: Vec<bool>,
    finished: Vec<Option<Outcome>>,
    errors: Vec<(usize, Diagnostic)>,
    stopped: Option<Stop>,
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
            machine: Machine::new(&plan, max_parallel),
            plan,
            work,
            emit: Box::new(emit),
            results: Arc::default(),
            reports,
            active: HashMap::new(),
            begun: vec![None; count],
            warned: vec![false; count],
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
                // In this order: a child that prints without end must not drown out a stop.
                biased;
                reason = cancel.stopped(), if engine.stopped.is_none() => engine.stop(reason),
                // The time of a run is that of its main part: `finally` happens whatever the time.
                () = over, if engine.stopped.is_none() && !engine.machine.is_in_finally() => engine.stop(Stop::RunTimeout),
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

    /// Does what the machine says; `true` when all is done.
    fn decide(&mut self) -> bool {
        while let Some(decision) = self.machine.next_decision() {
            match decision {
                Decision::Start(unit) => self.start(unit),
                Decision::Evaluate(stage) => self.evaluate(stage),
                Decision::End { stage, outcome, reason } => self.end(stage, outcome, Map::new(), Some(reason), None),
                Decision::Finish => return true,
            }
        }
        false
    }

    fn evaluate(&mut self, stage: usize) {
        let status = self.machine.status(stage);
        match self.work.condition(stage, &self.results, status) {
            Ok(holds) => self.machine.judged(stage, holds),
            Err(error) => {
                // An `if` without a value is a failure of its stage, not a silent "no".
                self.machine.failed(stage);
                self.end(stage, Outcome::Failure, Map::new(), None, Some(error));
            }
        }
    }

    fn start(&mut self, unit: usize) {
        let stages = self.plan.units[unit].stages.clone();
        for &stage in &stages {
            self.begun[stage] = Some(Instant::now());
            self.note("stage.started", stage, json!({ "stage": self.plan.stages[stage].name }));
        }
        let last = self.plan.policy(unit);
        let policy =
            Policy { stages, retry: last.retry.clone(), timeout: last.timeout.map(crate::value::Duration::get) };
        let cancel = Cancel::default();
        self.active.insert(unit, Active { cancel: cancel.clone(), meters: Vec::new() });
        tokio::spawn(work(
            Arc::clone(&self.work),
            unit,
            policy,
            cancel,
            Arc::clone(&self.results),
            self.reports.clone(),
        ));
    }

    fn stop(&mut self, reason: Stop) {
        self.stopped = Some(reason);
        for active in self.active.values() {
            active.cancel.stop(reason);
        }
        self.machine.stop();
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Attempting { unit, number, meters } => {
                for &stage in &self.plan.units[unit].stages {
                    let planned = &self.plan.stages[stage];
                    let kind = planned.stage.uses.clone().unwrap_or_else(|| "run".to_owned());
                    (self.emit)(What::StageStarted { stage: planned.name.clone(), kind, attempt: number });
                }
                if let Some(active) = self.active.get_mut(&unit) {
                    active.meters = meters.into_iter().map(|meter| (meter, 0)).collect();
                }
            }
            Report::Retrying { unit, number, delay, stage, error } => {
                self.tell_progress_of(unit);
                let name = self.plan.stages[stage].name.clone();
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                let data = json!({ "stage": name, "attempt": number, "delay_ms": delay_ms, "error": error.one_line() });
                self.note("stage.retrying", stage, data);
                (self.emit)(What::StageRetrying { stage: name, attempt: number, delay_ms, error });
            }
            Report::Told { stage, told } => {
                let name = self.plan.stages[stage].name.clone();
                match told {
                    Told::Line(stream, line) => (self.emit)(What::StageOutput { stage: name, stream, line }),
                    Told::Warning(warning) => {
                        self.warned[stage] = true;
                        (self.emit)(What::StageWarning { stage: name, warning });
                    }
                }
            }
            Report::Ended { unit, ended } => {
                self.tell_progress_of(unit);
                self.active.remove(&unit);
                let outcomes: Vec<(usize, Outcome)> = ended.into_iter().map(|ended| self.settle(ended)).collect();
                self.machine.ended(unit, &outcomes);
            }
        }
    }

    /// From what a stage came to, its outcome.
    fn settle(&mut self, ended: Ended) -> (usize, Outcome) {
        let stage = ended.stage;
        let forgiving = self.plan.stages[stage].stage.continue_on_error;
        let (outcome, outputs, reason, error) = match (ended.result, ended.victim) {
            (Ok(outputs), _) if self.warned[stage] => (Outcome::Warning, outputs, None, None),
            (Ok(outputs), _) => (Outcome::Success, outputs, None, None),
            (Err(_), Some((outcome, reason))) => (outcome, Map::new(), Some(reason), None),
            (Err(error), None) if error.code == SKIP => (Outcome::Skipped, Map::new(), Some(error.message), None),
            (Err(error), None) if error.kind == Kind::Cancelled => {
                (Outcome::Cancelled, Map::new(), Some("the run was stopped".to_owned()), None)
            }
            (Err(error), None) if forgiving => (Outcome::Warning, Map::new(), None, Some(error)),
            (Err(error), None) => (Outcome::Failure, Map::new(), None, Some(error)),
        };
        self.end(stage, outcome, outputs, reason, error);
        (stage, outcome)
    }

    fn end(
        &mut self,
        stage: usize,
        outcome: Outcome,
        outputs: Map<String, Json>,
        reason: Option<String>,
        error: Option<Diagnostic>,
    ) {
        debug_assert!(self.finished[stage].is_none(), "a stage ends once");
        let name = self.plan.stages[stage].name.clone();
        let seconds = self.begun[stage].map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let detail = error.as_ref().map(Diagnostic::one_line).or_else(|| reason.clone());
        self.note("stage.ended", stage, json!({ "stage": name, "outcome": outcome.word(), "detail": detail }));
        let shared = Arc::new(Json::Object(outputs.clone()));
        self.results.set(stage, StageResult { outcome, outputs: shared });
        self.finished[stage] = Some(outcome);
        if let (Some(error), Outcome::Failure) = (&error, outcome) {
            self.errors.push((stage, error.clone()));
        }
        (self.emit)(What::StageEnded { stage: name, outcome, seconds, outputs, reason, error });
    }

    /// What cannot be put on record must not go on.
    fn note(&mut self, kind: &str, stage: usize, data: Json) {
        if let Err(error) = self.work.note(kind, stage, data)
            && self.record_error.is_none()
        {
            self.record_error = Some(error);
            if self.stopped.is_none() {
                self.stop(Stop::Cancelled);
            }
        }
    }

    fn tell_progress(&mut self) {
        let units: Vec<usize> = self.active.keys().copied().collect();
        for unit in units {
            self.tell_progress_of(unit);
        }
    }

    fn tell_progress_of(&mut self, unit: usize) {
        let Some(active) = self.active.get_mut(&unit) else { return };
        for ((meter, last), &stage) in active.meters.iter_mut().zip(&self.plan.units[unit].stages) {
            let bytes = meter.bytes();
            if bytes != *last {
                *last = bytes;
                (self.emit)(What::StageProgress { stage: self.plan.stages[stage].name.clone(), bytes });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::{Attempt, BoxFuture};
    use super::*;
    use crate::diagnostic::Result;
    use crate::expression::Status;
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
                let fail = |transient| Err(Diagnostic::failure("TL0651", "no").transient(transient));
                let result = match self.acts[stage] {
                    Act::Fail => fail(false),
                    Act::FailTransient(until) if attempt.number < until => fail(true),
                    Act::Succeed | Act::FailTransient(_) => Ok(Map::new()),
                    Act::Warn => {
                        (attempt.tell)(stage, Told::Warning(Diagnostic::warning("TL0613", "hm")));
                        Ok(Map::new())
                    }
                    Act::Panic => {
                        self.running.fetch_sub(1, Ordering::SeqCst);
                        panic!("as asked")
                    }
                    Act::Hang => Err(attempt.cancel.stopped().await.diagnostic()),
                };
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.running.fetch_sub(1, Ordering::SeqCst);
                vec![Ended { stage, result, victim: None }]
            })
        }

        fn note(&self, _: &str, _: usize, _: Json) -> Result<()> {
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

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_one_failed_stage() {
        let stages = "  a: { run: [x] }\n  b: { run: [x] }\n  c: { needs: a, run: [x] }\n";
        let (finished, ..) = run(stages, &[Act::Panic, Act::Succeed, Act::Succeed], 8, Cancel::default(), None).await;
        assert_eq!(finished.outcomes, [Outcome::Failure, Outcome::Success, Outcome::Skipped]);
        assert_eq!(finished.errors[0].1.code, "TL0903");
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
        assert_eq!(finished.stopped, Some(Stop::RunTimeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_run_still_does_finally() {
        let cancel = Cancel::default();
        let later = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            later.stop(Stop::Cancelled);
        });
        let stages = "  a: { run: [x] }\n  b: { run: [x] }\n  c: { needs: b, run: [x] }\nfinally:\n  f: { run: [x] }\n";
        let acts = [Act::Succeed, Act::Hang, Act::Succeed, Act::Warn];
        let (finished, events, _) = run(stages, &acts, 8, cancel, None).await;
        assert_eq!(finished.outcomes, [Outcome::Success, Outcome::Cancelled, Outcome::Cancelled, Outcome::Warning]);
        assert_eq!(events.last().map(String::as_str), Some("stage-ended f"));
    }
}

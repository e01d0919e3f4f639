//! Sessions of a run of a random graph under paused time, and the trace of all that happened in each.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{self, AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value as Json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::graphs::{Act, End, Graph, OUTPUT};
use super::sessions::{Fault, Session};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::engine::{Attempt, BoxFuture, Engine, Expansion, Instance, Results, Work};
use crate::event::{Stream, What};
use crate::expression::Status;
use crate::graph::outcome::{Done, Ended, OwnEnd};
use crate::graph::recall::{self, Decision, Prior, PriorEffect};
use crate::graph::verdict::Finished;
use crate::graph::{Job, Plan};
use crate::stages::{Flow, Record, StageNotice};
use crate::value::{Cancel, CancelReason};

/// No run takes this long; one that does hangs.
const FOREVER: Duration = Duration::from_hours(12);

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Milliseconds since the start.
    pub(super) at: u64,
    pub(super) what: Entry,
}

impl Line {
    pub(super) fn event(&self) -> Option<&What> {
        match &self.what {
            Entry::Event(what) => Some(what),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// What the engine said.
    Event(Box<What>),
    /// The work was asked for an `if`, or for instances.
    Judged(usize),
    Expanded(usize),
    /// An attempt at the unit that begins with this stage.
    Began {
        first: usize,
        instance: Option<usize>,
        number: u32,
    },
    /// What the attempt does. A unit that runs has been forgotten by the journal in the same moment.
    Decided {
        stages: Vec<usize>,
        instance: Option<usize>,
        attempt: u32,
        key: Option<String>,
        choice: Choice,
    },
    /// The journal has the effects of these stages and instances.
    Committed(Vec<(usize, Option<usize>, Kept)>),
    /// It went on record that a stage started.
    Noted(usize),
    /// Somebody, or what could not be put on record, stopped the run.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Ran,
    Recalled,
    LeftOut,
    /// It failed, since nobody could tell whether its effects hold.
    Unknown,
    /// It failed, since it needs bytes that are gone.
    Missing,
}

/// What the journal keeps of a stage.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) key: String,
    pub(super) warned: bool,
    /// The digest of its artifact.
    pub(super) digest: Option<String>,
}

/// What is left of a session when it ends or is killed.
#[derive(Debug, Default)]
pub(super) struct World {
    journal: Mutex<BTreeMap<(usize, Option<usize>), Kept>>,
    /// How many files have been encrypted: no two are the same.
    encrypted: AtomicUsize,
}

/// What one session learns.
#[derive(Default)]
struct Memory {
    session: recall::Session,
    keys: HashMap<Job, String>,
    digests: BTreeMap<(usize, Option<usize>), String>,
}

/// A run that ended.
pub(super) struct Trace {
    pub(super) lines: Vec<Line>,
    pub(super) finished: Finished,
    pub(super) plan: Arc<Plan>,
}

/// The work of a random graph.
struct Fake {
    graph: Arc<Graph>,
    session: Arc<Session>,
    plan: Arc<Plan>,
    world: Arc<World>,
    prior: Prior<Kept>,
    memory: Mutex<Memory>,
    lines: Arc<Lines>,
    noted: AtomicUsize,
    is_refused: AtomicBool,
}

struct Lines {
    start: Instant,
    all: Mutex<Vec<Line>>,
    /// After how many more reports the process is killed.
    left: AtomicUsize,
    killed: Notify,
}

impl Lines {
    /// Whether the process lives. What it does after its death has no effect.
    fn is_alive(&self) -> bool {
        self.left.load(atomic::Ordering::SeqCst) > 0
    }

    /// One report more, which may be the last.
    fn report(&self) {
        if self.is_alive() && self.left.fetch_sub(1, atomic::Ordering::SeqCst) == 1 {
            self.killed.notify_one();
        }
    }

    fn push(&self, what: Entry) {
        if !self.is_alive() {
            return;
        }
        let at = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        self.all.lock().unwrap().push(Line { at, what });
    }
}

/// The number of a stage, from its name.
pub(super) fn number(name: &str) -> usize {
    name[1..].parse().unwrap()
}

impl Fake {
    fn number(&self, stage: usize) -> usize {
        number(&self.plan.stages[stage].name)
    }

    /// What the unit depends on: its settings and the artifacts of what it needs.
    fn key(&self, job: Job) -> Option<String> {
        let unit = &self.plan.units[job.unit].stages;
        let is_in_all = unit.iter().any(|&stage| self.plan.stages[stage].is_finally);
        let needs = |need: &usize| unit.iter().any(|&stage| self.plan.stages[stage].needs.contains(need));
        let memory = self.memory.lock().unwrap();
        let digests: Vec<_> = memory.digests.iter().filter(|((need, _), _)| needs(need)).collect();
        let settings: Vec<_> = unit.iter().map(|&stage| self.session.settings[self.number(stage)]).collect();
        (!is_in_all).then(|| format!("{unit:?} {settings:?} {:?} {digests:?}", job.instance))
    }

    /// As `run/recall.rs` asks the disk and the kind.
    fn still_holds(&self, effect: &PriorEffect<Kept>, attempt: u32) -> Result<bool> {
        let fault = self.session.faults.get(&self.number(effect.stage));
        if let Some(digest) = &effect.payload.digest {
            let mut memory = self.memory.lock().unwrap();
            if fault == Some(&Fault::BytesGone) {
                if !self.prior.was_delivered(effect.stage) {
                    return Ok(false);
                }
                memory.session.lose(effect.stage, effect.instance);
            }
            memory.digests.insert((effect.stage, effect.instance), digest.clone());
        }
        match fault.filter(|_| attempt == 1) {
            Some(Fault::Unknown) => Err(Diagnostic::failure(codes::TL0651, "no answer").transient(true)),
            fault => Ok(fault != Some(&Fault::Gone)),
        }
    }

    /// How the unit ends where it does not run.
    fn decide(&self, job: Job, attempt: u32) -> Option<Vec<Ended>> {
        let unit = &self.plan.units[job.unit].stages;
        let all = |end: &dyn Fn() -> OwnEnd| unit.iter().map(|&stage| Ended { stage, end: end() }).collect();
        let key = self.key(job);
        let may_recall = self.memory.lock().unwrap().session.may_recall(&self.plan, job);
        let (choice, ended) =
            match self.prior.decide(job, key.as_deref(), may_recall, |one| self.still_holds(one, attempt)) {
                Decision::Recall(effects) => {
                    let end = |warned| OwnEnd::Recalled { outputs: outputs(), warned };
                    let ended = effects.iter().map(|one| Ended { stage: one.stage, end: end(one.payload.warned) });
                    (Choice::Recalled, Some(ended.collect()))
                }
                Decision::LeaveOut => (Choice::LeftOut, Some(all(&|| OwnEnd::LeftOut))),
                Decision::Fail { error, .. } => (Choice::Unknown, Some(all(&|| OwnEnd::Failed(error.clone())))),
                Decision::ProveAgain => unreachable!("no stage of a random graph proves"),
                Decision::Run if self.missing_artifact(unit) => {
                    let error = || OwnEnd::Failed(Diagnostic::failure(codes::TL0639, "not kept"));
                    (Choice::Missing, Some(all(&error)))
                }
                Decision::Run => {
                    self.begin(job, key.clone());
                    (Choice::Ran, None)
                }
            };
        let stages = unit.iter().map(|&stage| self.number(stage)).collect();
        self.lines.push(Entry::Decided { stages, instance: job.instance, attempt, key, choice });
        ended
    }

    fn missing_artifact(&self, unit: &[usize]) -> bool {
        let memory = self.memory.lock().unwrap();
        let takes = |source: usize| unit.iter().any(|&stage| self.takes(stage) == Some(source));
        memory.session.lost().any(|(source, _)| takes(self.number(source)))
    }

    /// The number of the stage whose artifact a stage takes.
    fn takes(&self, stage: usize) -> Option<usize> {
        let number = self.number(stage);
        self.graph.stages[number].takes.then(|| number - 1)
    }

    fn begin(&self, job: Job, key: Option<String>) {
        let mut memory = self.memory.lock().unwrap();
        for (stage, instance) in self.prior.forgotten(&memory.session, job) {
            if self.lines.is_alive() {
                self.world.journal.lock().unwrap().remove(&(self.number(stage), instance));
            }
        }
        memory.session.begin(&self.plan, job);
        memory.keys.extend(key.map(|key| (job, key)));
        self.made(&mut memory, job, String::new);
    }

    /// Gives the artifact of a unit a digest.
    fn made(&self, memory: &mut Memory, job: Job, digest: impl FnOnce() -> String) {
        let last = *self.plan.units[job.unit].stages.last().unwrap();
        if matches!(self.plan.flow(last), Flow::Source | Flow::Filter) {
            memory.digests.insert((last, job.instance), digest());
        }
    }

    fn ends_well(&self, job: Job) {
        let last = *self.plan.units[job.unit].stages.last().unwrap();
        let digest = || match self.plan.flow(last) {
            Flow::Filter => format!("{} encrypted", self.world.encrypted.fetch_add(1, atomic::Ordering::SeqCst)),
            _ => format!("{} of {last}", self.session.contents),
        };
        self.made(&mut self.memory.lock().unwrap(), job, digest);
    }
}

impl Work for Fake {
    fn condition(&self, stage: usize, _: &Results, status: Status) -> Result<bool> {
        let stage = self.number(stage);
        self.lines.push(Entry::Judged(stage));
        let value = self.graph.stages[stage].condition.value(status);
        value.ok_or_else(|| Diagnostic::failure(codes::TL0301, "no value"))
    }

    fn expand(&self, planned: usize, results: &Results) -> Result<Expansion> {
        let stage = self.number(planned);
        self.lines.push(Entry::Expanded(stage));
        let matrix = self.graph.stages[stage].matrix.as_ref().unwrap();
        if matrix.is_broken {
            return Err(Diagnostic::failure(codes::TL0301, "no value"));
        }
        let instance = |number: usize| Instance { number, label: number.to_string(), matrix: Arc::default() };
        let Some(over) = matrix.over else {
            return Ok(Expansion {
                instances: (0..matrix.count).map(instance).collect(),
                skipped: matrix.skipped.clone(),
            });
        };
        let need = self.plan.stages.iter().position(|other| number(&other.name) == over);
        let given = need.and_then(|need| results.get(need)?.outputs.get(OUTPUT)?.as_array().cloned());
        let given = given.ok_or_else(|| Diagnostic::failure(codes::TL0301, "it gave no list"))?;
        let skipped = (0..given.len()).filter(|&number| given[number].is_null()).collect();
        Ok(Expansion { instances: (0..given.len()).map(instance).collect(), skipped })
    }

    fn attempt(self: Arc<Self>, attempt: Attempt) -> BoxFuture<Vec<Ended>> {
        let stages = self.plan.units[attempt.unit].stages.clone();
        let unit: Vec<usize> = stages.iter().map(|&stage| self.number(stage)).collect();
        let instance = attempt.instance.as_ref().map(|instance| instance.number);
        self.lines.push(Entry::Began { first: unit[0], instance, number: attempt.number });
        if let Some(ended) = self.decide(attempt.job(), attempt.number) {
            return Box::pin(std::future::ready(ended));
        }
        let acts = &self.graph.stages[*unit.last().unwrap()].acts[instance.unwrap_or(0)];
        let act = acts[(attempt.number as usize - 1).min(acts.len() - 1)];
        if act.end == End::PanicAtOnce {
            std::panic::resume_unwind(Box::new("as asked"));
        }
        Box::pin(async move {
            let place = act.place % stages.len();
            (attempt.emit)(stages[place], StageNotice::Line(Stream::Stdout, "here".to_owned()));
            if act.warns {
                (attempt.emit)(stages[place], StageNotice::Warning(Diagnostic::warning(codes::TL0613, "hm")));
            }
            let waits = async {
                sleep(Duration::from_millis(act.millis)).await;
                if matches!(act.end, End::Hang | End::Deaf) {
                    std::future::pending::<()>().await;
                }
            };
            let stopped = tokio::select! {
                () = waits => None,
                stop = attempt.cancel.cancelled(), if act.end != End::Stubborn => Some(stop),
            };
            if act.end == End::Deaf {
                sleep(Duration::from_secs(45)).await;
                (attempt.emit)(stages[place], StageNotice::Line(Stream::Stdout, "too late".to_owned()));
                (attempt.emit)(stages[place], StageNotice::Warning(Diagnostic::warning(codes::TL0613, "too late")));
            }
            if stopped.is_some() {
                sleep(Duration::from_millis(act.stopping)).await;
            }
            match (stopped, act.end) {
                (Some(stop), _) => {
                    stages.iter().map(|&stage| Ended { stage, end: OwnEnd::Failed(stop.into()) }).collect()
                }
                (None, End::Panic) => std::panic::resume_unwind(Box::new("as asked")),
                (None, End::Nothing) => Vec::new(),
                (None, _) => {
                    if !matches!(act.end, End::Failure | End::Transient | End::Skip) {
                        self.ends_well(attempt.job());
                    }
                    ends(act, &stages, place)
                }
            }
        })
    }

    fn commit(&self, done: Vec<Done>) -> BoxFuture<Result<()>> {
        let memory = self.memory.lock().unwrap();
        let kept = |Done { stage, instance, warned, .. }: Done| {
            let key = memory.keys.get(&Job { unit: self.plan.stages[stage].unit, instance })?.clone();
            let digest = memory.digests.get(&(stage, instance)).cloned();
            Some((self.number(stage), instance, Kept { key, warned, digest }))
        };
        let effects: Vec<_> = done.into_iter().filter_map(kept).collect();
        let (lines, world) = (Arc::clone(&self.lines), Arc::clone(&self.world));
        Box::pin(async move {
            lines.report();
            tokio::task::yield_now().await;
            if lines.is_alive() {
                let rows = effects.iter().map(|(stage, instance, kept)| ((*stage, *instance), kept.clone()));
                world.journal.lock().unwrap().extend(rows);
                lines.push(Entry::Committed(effects));
                lines.report();
            }
            Ok(())
        })
    }

    fn note(&self, record: Record) -> Result<()> {
        let before = self.noted.fetch_add(1, atomic::Ordering::SeqCst);
        let records = self.graph.records.filter(|records| before >= *records);
        match records {
            // Half of the graphs hear it at once, the others when they ask.
            Some(records) if records % 2 == 0 => {
                if records == before {
                    self.lines.push(Entry::Stopped);
                }
                return Err(full());
            }
            Some(records) if records == before => self.is_refused.store(true, atomic::Ordering::SeqCst),
            _ => {}
        }
        if let Record::StageStarted { name } = record {
            self.lines.push(Entry::Noted(number(&name.stage)));
        }
        Ok(())
    }

    fn refused(&self) -> Option<Diagnostic> {
        self.is_refused.swap(false, atomic::Ordering::SeqCst).then(|| {
            self.lines.push(Entry::Stopped);
            full()
        })
    }
}

/// What each stage gives.
fn outputs() -> Map<String, Json> {
    Map::from_iter([(OUTPUT.to_owned(), "given".into())])
}

fn full() -> Diagnostic {
    Diagnostic::failure(codes::TL0707, "the disk is full")
}

/// Runs a graph once and whole, or says that its run did not end.
pub(super) fn run(graph: &Arc<Graph>) -> std::result::Result<Trace, String> {
    let session = Session { settings: vec![0; graph.stages.len()], ..Session::default() };
    let (lines, finished, plan) = run_session(graph, &Arc::default(), Arc::new(session))?;
    Ok(Trace { lines, finished: finished.ok_or("the run is killed")?, plan })
}

/// The trace of a session, how it finished unless it was killed, and its plan.
type Traced = (Vec<Line>, Option<Finished>, Arc<Plan>);

/// Runs one session of a run.
pub(super) fn run_session(
    graph: &Arc<Graph>,
    world: &Arc<World>,
    session: Arc<Session>,
) -> std::result::Result<Traced, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    fastrand::seed(0);
    let plan = Arc::new(graph.plan(&session.selection));
    runtime.block_on(async {
        let left = AtomicUsize::new(session.killed_after.unwrap_or(usize::MAX));
        let lines = Arc::new(Lines { start: Instant::now(), all: Mutex::default(), left, killed: Notify::default() });
        let cancel = Cancel::default();
        if let Some(at) = graph.cancelled_at {
            let (cancel, lines) = (cancel.clone(), Arc::clone(&lines));
            tokio::spawn(async move {
                sleep(Duration::from_millis(at)).await;
                lines.push(Entry::Stopped);
                cancel.cancel(CancelReason::Requested);
            });
        }
        let effects: Vec<_> = plan
            .stages
            .iter()
            .enumerate()
            .flat_map(|(stage, planned)| {
                let journal = world.journal.lock().unwrap();
                let own = journal.iter().filter(|((other, _), _)| *other == number(&planned.name));
                let effect = |(&(_, instance), kept): (&(usize, Option<usize>), &Kept)| PriorEffect {
                    stage,
                    instance,
                    key: kept.key.clone(),
                    payload: kept.clone(),
                };
                own.map(effect).collect::<Vec<_>>()
            })
            .collect();
        let work = Arc::new(Fake {
            graph: Arc::clone(graph),
            session,
            prior: Prior::new(Arc::clone(&plan), effects),
            plan: Arc::clone(&plan),
            world: Arc::clone(world),
            memory: Mutex::default(),
            lines: Arc::clone(&lines),
            noted: AtomicUsize::new(0),
            is_refused: AtomicBool::new(false),
        });
        let seen = Arc::clone(&lines);
        let emit = move |what| {
            seen.push(Entry::Event(Box::new(what)));
            seen.report();
        };
        let limit = graph.timeout.map(Duration::from_millis);
        let run = Engine::run(Arc::clone(&plan), work, graph.max_parallel, limit, cancel, emit);
        let finished = tokio::select! {
            // A process that was killed has no end, also where it is killed by its last report.
            biased;
            () = lines.killed.notified() => None,
            finished = timeout(FOREVER, run) => Some(finished.map_err(|_| "the run does not end".to_owned())?),
        };
        let finished = finished.filter(|_| lines.is_alive());
        let lines = lines.all.lock().unwrap().clone();
        Ok((lines, finished, plan))
    })
}

/// As a chain of real stages ends: one of them by itself, and the others because the streams between them break.
fn ends(act: Act, stages: &[usize], place: usize) -> Vec<Ended> {
    let failure = |error| OwnEnd::Failed(Diagnostic::failure(codes::TL0651, error));
    let own = match act.end {
        End::Failure => failure("no"),
        End::Transient => OwnEnd::Failed(Diagnostic::failure(codes::TL0651, "not yet").transient(true)),
        End::Skip => OwnEnd::NothingToDo("nothing to do".to_owned()),
        _ => return stages.iter().map(|&stage| Ended { stage, end: OwnEnd::Done(outputs()) }).collect(),
    };
    let broken = || Diagnostic::failure(codes::TL0604, "the stream broke");
    let mut own = Some(own);
    let mut end = |at: usize| match at.cmp(&place) {
        Ordering::Less => OwnEnd::LostReader(broken()),
        Ordering::Equal => own.take().unwrap(),
        Ordering::Greater => OwnEnd::LostWriter(broken()),
    };
    stages.iter().enumerate().map(|(at, &stage)| Ended { stage, end: end(at) }).collect()
}

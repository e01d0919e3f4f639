//! A run of a random graph under paused time, and the trace of all that happened in it.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Map;
use tokio::time::{Instant, sleep, timeout};

use super::graphs::{Act, End, Graph};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::engine::{Attempt, BoxFuture, Engine, Expansion, Instance, Results, Work};
use crate::event::{Stream, What};
use crate::expression::Status;
use crate::graph::Plan;
use crate::graph::outcome::{Ended, OwnEnd};
use crate::graph::verdict::Finished;
use crate::stages::{Record, Told};
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
    /// It went on record that a stage started.
    Noted(usize),
    /// Somebody, or what could not be put on record, stopped the run.
    Stopped,
}

/// A run that came to its end.
pub(super) struct Trace {
    pub(super) lines: Vec<Line>,
    pub(super) finished: Finished,
    pub(super) plan: Arc<Plan>,
}

/// The work of a random graph.
struct Fake {
    graph: Arc<Graph>,
    plan: Arc<Plan>,
    lines: Arc<Lines>,
    noted: AtomicUsize,
    is_refused: AtomicBool,
}

struct Lines {
    start: Instant,
    lines: Mutex<Vec<Line>>,
}

impl Lines {
    fn push(&self, what: Entry) {
        let at = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        self.lines.lock().unwrap().push(Line { at, what });
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
}

impl Work for Fake {
    fn condition(&self, stage: usize, _: &Results, status: Status) -> Result<bool> {
        let stage = self.number(stage);
        self.lines.push(Entry::Judged(stage));
        let value = self.graph.stages[stage].condition.value(status);
        value.ok_or_else(|| Diagnostic::failure(codes::TL0301, "no value"))
    }

    fn expand(&self, stage: usize, _: &Results) -> Result<Expansion> {
        let stage = self.number(stage);
        self.lines.push(Entry::Expanded(stage));
        let matrix = self.graph.stages[stage].matrix.as_ref().unwrap();
        if matrix.is_broken {
            return Err(Diagnostic::failure(codes::TL0301, "no value"));
        }
        let instance = |number: usize| Instance { number, label: number.to_string(), matrix: Arc::default() };
        Ok(Expansion { instances: (0..matrix.count).map(instance).collect(), skipped: matrix.skipped.clone() })
    }

    fn attempt(self: Arc<Self>, attempt: Attempt) -> BoxFuture<Vec<Ended>> {
        let stages = self.plan.units[attempt.unit].stages.clone();
        let unit: Vec<usize> = stages.iter().map(|&stage| self.number(stage)).collect();
        let instance = attempt.instance.as_ref().map(|instance| instance.number);
        self.lines.push(Entry::Began { first: unit[0], instance, number: attempt.number });
        let acts = &self.graph.stages[*unit.last().unwrap()].acts[instance.unwrap_or(0)];
        let act = acts[(attempt.number as usize - 1).min(acts.len() - 1)];
        if act.end == End::PanicAtOnce {
            std::panic::resume_unwind(Box::new("as asked"));
        }
        Box::pin(async move {
            let place = act.place % stages.len();
            (attempt.tell)(stages[place], Told::Line(Stream::Stdout, "here".to_owned()));
            if act.warns {
                (attempt.tell)(stages[place], Told::Warning(Diagnostic::warning(codes::TL0613, "hm")));
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
                (attempt.tell)(stages[place], Told::Line(Stream::Stdout, "too late".to_owned()));
                (attempt.tell)(stages[place], Told::Warning(Diagnostic::warning(codes::TL0613, "too late")));
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
                (None, _) => ends(act, &stages, place),
            }
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

fn full() -> Diagnostic {
    Diagnostic::failure(codes::TL0707, "the disk is full")
}

/// Runs a graph, or says that its run came to no end.
pub(super) fn run(graph: &Arc<Graph>) -> std::result::Result<Trace, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    fastrand::seed(0);
    let plan = Arc::new(graph.plan());
    runtime.block_on(async {
        let lines = Arc::new(Lines { start: Instant::now(), lines: Mutex::default() });
        let cancel = Cancel::default();
        if let Some(at) = graph.cancelled_at {
            let (cancel, lines) = (cancel.clone(), Arc::clone(&lines));
            tokio::spawn(async move {
                sleep(Duration::from_millis(at)).await;
                lines.push(Entry::Stopped);
                cancel.cancel(CancelReason::Requested);
            });
        }
        let work = Arc::new(Fake {
            graph: Arc::clone(graph),
            plan: Arc::clone(&plan),
            lines: Arc::clone(&lines),
            noted: AtomicUsize::new(0),
            is_refused: AtomicBool::new(false),
        });
        let seen = Arc::clone(&lines);
        let emit = move |what| seen.push(Entry::Event(Box::new(what)));
        let limit = graph.timeout.map(Duration::from_millis);
        let run = Engine::run(Arc::clone(&plan), work, graph.max_parallel, limit, cancel, emit);
        let finished = timeout(FOREVER, run).await.map_err(|_| "the run does not end".to_owned())?;
        let lines = lines.lines.lock().unwrap().clone();
        Ok(Trace { lines, finished, plan })
    })
}

/// As a chain of real stages ends: one of them by itself, and the others because the streams between them break.
fn ends(act: Act, stages: &[usize], place: usize) -> Vec<Ended> {
    let failure = |error| OwnEnd::Failed(Diagnostic::failure(codes::TL0651, error));
    let own = match act.end {
        End::Failure => failure("no"),
        End::Transient => OwnEnd::Failed(Diagnostic::failure(codes::TL0651, "not yet").transient(true)),
        End::Skip => OwnEnd::NothingToDo("nothing to do".to_owned()),
        _ => return stages.iter().map(|&stage| Ended { stage, end: OwnEnd::Done(Map::new()) }).collect(),
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

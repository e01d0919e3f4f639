//! What a run of many stages costs, counted in steps and not in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value as Json, json};

use crate::diagnostic::Result;
use crate::engine::{Attempt, BoxFuture, Engine, Expansion, Instance, Results, Work};
use crate::event::Outcome;
use crate::expression::Status;
use crate::graph::outcome::{Ended, OwnEnd};
use crate::graph::{Decision, Machine, Plan};
use crate::stages::Record;
use crate::value::Cancel;

/// Work that is done at once, and counts how often it is asked for something.
struct Instant {
    plan: Arc<Plan>,
    instances: usize,
    asked: AtomicUsize,
}

impl Work for Instant {
    fn condition(&self, _: usize, _: &Results, _: Status) -> Result<bool> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn expand(&self, _: usize, _: &Results) -> Result<Expansion> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let instance = |number: usize| Instance { number, label: number.to_string(), matrix: Arc::default() };
        Ok(Expansion { instances: (0..self.instances).map(instance).collect(), skipped: Vec::new() })
    }

    fn attempt(self: Arc<Self>, attempt: Attempt) -> BoxFuture<Vec<Ended>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let ended = |&stage: &usize| Ended { stage, end: OwnEnd::Done(Map::new()) };
        let ended = self.plan.units[attempt.unit].stages.iter().map(ended).collect();
        Box::pin(async move { ended })
    }

    fn note(&self, _: Record) -> Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Stages, each of which needs what `needs` says of its number.
fn plan(count: usize, needs: fn(usize) -> Vec<usize>) -> Plan {
    let stage = |number: usize| {
        let needs: Vec<String> = needs(number).iter().map(|need| format!("s{need}")).collect();
        (format!("s{number}"), json!({ "needs": needs, "run": ["x"] }))
    };
    let stages: Map<String, Json> = (0..count).map(stage).collect();
    Plan::new(&serde_json::from_value(json!({ "version": 1, "name": "many", "stages": stages })).unwrap())
}

/// Runs a plan: how often the work was asked for something, and how many events there were.
fn run(plan: Plan, instances: usize) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let plan = Arc::new(plan);
    let work = Arc::new(Instant { plan: Arc::clone(&plan), instances, asked: AtomicUsize::new(0) });
    let events = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&events);
    let emit = move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let finished = runtime.block_on(Engine::run(plan, Arc::clone(&work), 8, None, Cancel::default(), emit));
    assert!(finished.outcomes.iter().all(|outcome| *outcome == Outcome::Success));
    (work.asked.load(Ordering::Relaxed), events.load(Ordering::Relaxed))
}

#[test]
fn a_stage_takes_three_steps_however_many_there_are() {
    let flat = |_| Vec::new();
    let chain = |number: usize| number.checked_sub(1).into_iter().collect();
    let layers = |number: usize| (0..3).filter_map(|n| (number / 100).checked_sub(1).map(|l| l * 100 + n)).collect();
    for (needs, count) in [(flat as fn(usize) -> Vec<usize>, 2_000), (flat, 20_000), (chain, 20_000), (layers, 10_000)]
    {
        // An attempt and two records; two events.
        assert_eq!(run(plan(count, needs), 0), (3 * count, 2 * count));
    }
}

#[test]
fn an_instance_takes_three_steps_however_many_there_are() {
    let stage = json!({ "strategy": { "matrix": { "m": [1] } }, "run": ["x"] });
    let file = json!({ "version": 1, "name": "many", "stages": { "a": stage } });
    let count = 20_000;
    let (asked, events) = run(Plan::new(&serde_json::from_value(file).unwrap()), count);
    assert_eq!((asked, events), (3 * count + 2, 2 * count + 1));
}

#[test]
fn each_stage_is_decided_once_whatever_the_shape() {
    let every = |number: usize| (number.saturating_sub(4)..number).collect();
    for count in [10_000, 100_000] {
        let mut machine = Machine::new(Arc::new(plan(count, every)), 4);
        let mut decisions = 0;
        while let Some(decision) = machine.next_decision() {
            decisions += 1;
            if let Decision::Start(job) = decision {
                machine.ended(job, &[(job.unit, Outcome::Success)]);
            }
        }
        // A start for each, and the end.
        assert_eq!(decisions, count + 1);
    }
}

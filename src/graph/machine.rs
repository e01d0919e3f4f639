//! The machine that decides what may start. It hears what happened and says what follows.
//!
//! A unit starts when all that it waits for has ended: its needs and, in `finally`, the whole main part. A start is decided only
//! when it is asked for: a stop, even one that a record causes in between, then takes back all that has not begun.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use super::instances::Group;
use super::start::{Known, Obstacle, ends_with_the_run, obstacle};
use super::{Plan, Planned, Unit};
use crate::event::Outcome;
use crate::expression::Status;

/// A unit, or one instance of a stage that has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Which unit.
    pub unit: usize,
    /// Which instance of its only stage.
    pub instance: Option<usize>,
}

/// What the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Evaluate the `if` of this stage, then call [`Machine::judged`].
    Evaluate(usize),
    /// Expand the matrix of this stage, then call [`Machine::expanded`].
    Expand(usize),
    /// Start this, then call [`Machine::ended`] with its outcomes.
    Start(Job),
    /// Stop this: another instance of its stage failed.
    Stop(Job),
    /// This stage, or this instance of it, ends without having run.
    End {
        /// Which stage.
        stage: usize,
        /// Which instance of it.
        instance: Option<usize>,
        /// Skipped or cancelled.
        outcome: Outcome,
        /// Why, for people.
        reason: String,
    },
    /// All instances of this stage have ended.
    Complete {
        /// Which stage.
        stage: usize,
        /// The outcome of all of them together.
        outcome: Outcome,
    },
    /// Every stage has ended.
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    /// Its `if` is being evaluated.
    Judging,
    /// Its matrix is being expanded.
    Expanding,
    Ready,
    Running,
    Ended(Outcome),
}

/// The stages that are not in `finally`.
#[derive(Debug)]
pub(super) struct MainPart {
    /// Stages that have not ended.
    pub(super) left: usize,
    /// A stage failed.
    pub(super) tainted: bool,
    /// A stage failed or was cancelled.
    pub(super) ended_badly: bool,
}

/// Decides what may start. Pure: the same events always give the same decisions.
#[derive(Debug)]
pub struct Machine {
    pub(super) plan: Arc<Plan>,
    pub(super) dependants: Vec<Vec<usize>>,
    pub(super) groups: BTreeMap<usize, Group>,
    /// Stages whose instances have all ended.
    pub(super) completed: HashSet<usize>,

    pub(super) state: Vec<State>,
    /// Whether a stage failed, or one that it waited for, however far back.
    pub(super) tainted: Vec<bool>,
    /// Needs outside the unit that have not ended.
    pub(super) open: Vec<usize>,
    pub(super) main: MainPart,
    pub(super) left: usize,
    pub(super) ready: VecDeque<Job>,
    pub(super) running: usize,
    pub(super) max_parallel: usize,
    pub(super) stopping: bool,
    pub(super) decisions: VecDeque<Decision>,
    /// Ended stages whose dependants are not scheduled yet. A queue, not recursion: a chain of skipped stages may be as long
    /// as the file.
    pub(super) ended: VecDeque<usize>,
    pub(super) finished: bool,
}

impl Machine {
    /// A machine for a plan. At most `max_parallel` units run at once.
    pub fn new(plan: Arc<Plan>, max_parallel: usize) -> Self {
        let count = plan.stages.len();
        let mut machine = Self {
            dependants: vec![Vec::new(); count],
            groups: BTreeMap::new(),
            completed: HashSet::new(),
            state: vec![State::Waiting; count],
            tainted: vec![false; count],
            open: vec![0; plan.units.len()],
            main: MainPart {
                left: plan.stages.iter().filter(|stage| !stage.is_finally).count(),
                tainted: false,
                ended_badly: false,
            },
            left: count,
            ready: VecDeque::new(),
            running: 0,
            max_parallel: max_parallel.max(1),
            stopping: false,
            decisions: VecDeque::new(),
            ended: VecDeque::new(),
            finished: false,
            plan: Arc::clone(&plan),
        };
        for (number, stage) in plan.stages.iter().enumerate() {
            for &need in &stage.needs {
                machine.dependants[need].push(number);
                if plan.stages[need].unit != stage.unit {
                    machine.open[stage.unit] += 1;
                }
            }
        }
        for (unit, Unit { stages }) in plan.units.iter().enumerate() {
            if machine.open[unit] == 0 && !plan.stages[stages[0]].is_finally {
                machine.schedule(unit);
            }
        }
        machine
    }

    /// The next decision; `None` until something happens. Starts come last, so that a stop can take them back.
    pub fn next_decision(&mut self) -> Option<Decision> {
        while let Some(decision) = self.decisions.pop_front() {
            // A stop may have ended the stage since.
            let is_due = match decision {
                Decision::Evaluate(stage) => self.state[stage] == State::Judging,
                Decision::Expand(stage) => self.state[stage] == State::Expanding,
                _ => true,
            };
            if is_due {
                return Some(decision);
            }
        }
        if self.running < self.max_parallel
            && let Some(job) = self.ready.pop_front()
        {
            self.running += 1;
            for &stage in &self.plan.units[job.unit].stages {
                self.state[stage] = State::Running;
            }
            return Some(Decision::Start(job));
        }
        if self.left == 0 && !self.finished {
            self.finished = true;
            return Some(Decision::Finish);
        }
        None
    }

    /// Takes the outcomes of the stages of a unit that was started.
    pub fn ended(&mut self, job: Job, outcomes: &[(usize, Outcome)]) {
        self.running -= 1;
        debug_assert_eq!(
            outcomes.len(),
            self.plan.units[job.unit].stages.len(),
            "each stage of a unit has one outcome"
        );
        for &(stage, outcome) in outcomes {
            match job.instance {
                None => self.end(stage, outcome),
                Some(instance) => self.instance_ended(job.unit, stage, instance, outcome),
            }
        }
        self.propagate();
    }

    /// Takes the answer of an `if`.
    pub fn judged(&mut self, stage: usize, holds: bool) {
        if self.state[stage] != State::Judging {
            return;
        }
        if holds {
            self.make_ready(self.plan.stages[stage].unit);
        } else {
            self.block(stage, Obstacle::Condition);
            self.propagate();
        }
    }

    /// Ends a stage whose `if` or matrix has no value. The caller reports the outcome.
    pub fn failed(&mut self, stage: usize, outcome: Outcome) {
        if matches!(self.state[stage], State::Judging | State::Expanding) {
            self.end(stage, outcome);
            self.propagate();
        }
    }

    /// Stops the run. Cancels stages that have not started, except `finally` and those whose `if` uses a status function.
    pub fn stop(&mut self) {
        self.stopping = true;
        for stage in 0..self.state.len() {
            let not_begun =
                matches!(self.state[stage], State::Waiting | State::Ready | State::Judging | State::Expanding);
            if not_begun && ends_with_the_run(&self.plan, stage) {
                self.block(stage, Obstacle::Cancelled);
            }
        }
        let state = &self.state;
        let units = &self.plan.units;
        let is_due = |job: &Job| {
            job.instance.is_some() || units[job.unit].stages.iter().all(|&stage| state[stage] == State::Ready)
        };
        self.ready.retain(is_due);
        let ends = |stage: &usize| ends_with_the_run(&self.plan, *stage);
        for stage in self.groups.keys().copied().filter(ends).collect::<Vec<_>>() {
            self.end_waiting(stage, &Obstacle::Cancelled.reason(&self.plan));
            self.start_more(stage);
        }
        self.propagate();
    }

    /// Whether only stages of `finally` are left.
    pub fn is_in_finally(&self) -> bool {
        self.main.left == 0
    }

    /// What the status functions of a stage's `if` answer.
    pub fn status(&self, stage: usize) -> Status {
        let Planned { needs, is_finally, .. } = &self.plan.stages[stage];
        // A stage of `finally` without needs looks at the whole main part, which has ended.
        let (success, failure) = if *is_finally && needs.is_empty() {
            (!self.main.ended_badly, self.main.tainted)
        } else {
            let is_ok = |need: &usize| match self.state[*need] {
                State::Ended(outcome) => outcome.is_ok() || (*is_finally && outcome == Outcome::Skipped),
                _ => false,
            };
            (needs.iter().all(is_ok), needs.iter().any(|&need| self.tainted[need]))
        };
        Status { success: success && !self.stopping, failure, cancelled: self.stopping }
    }

    /// Starts a unit or ends it, once all that it waits for has ended.
    fn schedule(&mut self, unit: usize) {
        let Some(&first) = self.plan.units[unit].stages.first() else { return };
        if self.state[first] != State::Waiting {
            return;
        }
        let outcome = |need: usize| match self.state[need] {
            State::Ended(outcome) => Some(outcome),
            _ => None,
        };
        let had_instances = |need: usize| self.completed.contains(&need);
        let known = Known {
            cancelled: self.stopping,
            outcome: &outcome,
            had_instances: &had_instances,
            condition: None,
            instances: None,
        };
        match obstacle(&self.plan, first, &known) {
            Some(obstacle) => {
                for stage in self.plan.units[unit].stages.clone() {
                    self.block(stage, obstacle);
                }
            }
            // A stage with an `if` is alone in its unit.
            None if self.plan.stages[first].condition.is_some() => {
                self.state[first] = State::Judging;
                self.decisions.push_back(Decision::Evaluate(first));
            }
            None => self.make_ready(unit),
        }
    }

    fn make_ready(&mut self, unit: usize) {
        // A stage with a matrix is alone in its unit.
        if let &[stage] = self.plan.units[unit].stages.as_slice()
            && self.plan.stages[stage].stage.strategy.is_some()
        {
            self.state[stage] = State::Expanding;
            self.decisions.push_back(Decision::Expand(stage));
            return;
        }
        for &stage in &self.plan.units[unit].stages {
            self.state[stage] = State::Ready;
        }
        self.ready.push_back(Job { unit, instance: None });
    }

    /// Ends a stage that does not start.
    pub(super) fn block(&mut self, stage: usize, obstacle: Obstacle) {
        let (outcome, reason) = (obstacle.outcome(), obstacle.reason(&self.plan));
        self.decisions.push_back(Decision::End { stage, instance: None, outcome, reason });
        self.end(stage, outcome);
    }

    pub(super) fn end(&mut self, stage: usize, outcome: Outcome) {
        self.state[stage] = State::Ended(outcome);
        let planned = &self.plan.stages[stage];
        self.tainted[stage] = outcome == Outcome::Failure || planned.needs.iter().any(|&need| self.tainted[need]);
        if !planned.is_finally {
            self.main.tainted |= self.tainted[stage];
            self.main.ended_badly |= !outcome.is_ok() && outcome != Outcome::Skipped;
        }
        self.left -= 1;
        self.ended.push_back(stage);
    }

    /// Schedules what waited for the stages that ended.
    pub(super) fn propagate(&mut self) {
        while let Some(stage) = self.ended.pop_front() {
            for dependant in self.dependants[stage].clone() {
                let unit = self.plan.stages[dependant].unit;
                if unit != self.plan.stages[stage].unit {
                    self.open[unit] -= 1;
                    // Stages of `finally` need one another alone, and the first of them wait for all others.
                    if self.open[unit] == 0 {
                        self.schedule(unit);
                    }
                }
            }
            if !self.plan.stages[stage].is_finally {
                self.main.left -= 1;
                if self.main.left == 0 {
                    for unit in 0..self.plan.units.len() {
                        if self.plan.stages[self.plan.units[unit].stages[0]].is_finally && self.open[unit] == 0 {
                            self.schedule(unit);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Document;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::path::PathBuf;

    fn machine(stages: &str, max_parallel: usize) -> (Machine, Vec<String>) {
        let text = format!("version: 1\nname: t\nstages:\n{stages}");
        let document = Document::parse("t".to_owned(), PathBuf::new(), text).unwrap();
        let plan = Plan::new(&serde_json::from_value(document.value().clone()).unwrap());
        let names = plan.stages.iter().map(|stage| stage.name.clone()).collect();
        (Machine::new(Arc::new(plan), max_parallel), names)
    }

    fn job(unit: usize) -> Job {
        Job { unit, instance: None }
    }

    fn start(unit: usize) -> Decision {
        Decision::Start(job(unit))
    }

    fn decisions(machine: &mut Machine) -> Vec<Decision> {
        std::iter::from_fn(|| machine.next_decision()).collect()
    }

    fn ends(decisions: &[Decision]) -> Vec<(usize, Outcome)> {
        decisions
            .iter()
            .filter_map(|decision| match decision {
                Decision::End { stage, outcome, .. } => Some((*stage, *outcome)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_failure_skips_what_needs_it_and_nothing_else() {
        let (mut machine, _) = machine(
            "  a: { run: [x] }\n  b: { needs: a, run: [x] }\n  c: { needs: b, run: [x] }\n  d: { run: [x] }\nfinally:\n  \
             f: { run: [x] }\n",
            9,
        );
        assert_eq!(decisions(&mut machine), [start(0), start(3)]);
        machine.ended(job(0), &[(0, Outcome::Failure)]);
        assert_eq!(ends(&decisions(&mut machine)), [(1, Outcome::Skipped), (2, Outcome::Skipped)]);
        machine.ended(job(3), &[(3, Outcome::Success)]);
        assert_eq!(decisions(&mut machine), [start(4)]);
        machine.ended(job(4), &[(4, Outcome::Success)]);
        assert_eq!(decisions(&mut machine), [Decision::Finish]);
        assert_eq!(decisions(&mut machine), []);
    }

    #[test]
    fn an_if_with_a_status_function_sees_the_failure() {
        let (mut machine, _) =
            machine("  a: { run: [x] }\n  b: { needs: a, run: [x] }\n  c: { needs: b, if: failure(), run: [x] }\n", 9);
        decisions(&mut machine);
        machine.ended(job(0), &[(0, Outcome::Failure)]);
        let next = decisions(&mut machine);
        assert_eq!(next.last(), Some(&Decision::Evaluate(2)));
        let status = machine.status(2);
        assert!(status.failure && !status.success && !status.cancelled);
        machine.judged(2, true);
        assert_eq!(decisions(&mut machine), [start(2)]);
    }

    #[test]
    fn a_stop_cancels_what_has_not_begun_and_runs_finally() {
        let (mut machine, _) = machine(
            "  a: { run: [x] }\n  b: { needs: a, run: [x] }\n  c: { run: [x] }\nfinally:\n  f: { run: [x] }\n",
            1,
        );
        assert_eq!(decisions(&mut machine), [start(0)]);
        machine.stop();
        assert_eq!(ends(&decisions(&mut machine)), [(1, Outcome::Cancelled), (2, Outcome::Cancelled)]);
        machine.ended(job(0), &[(0, Outcome::Cancelled)]);
        assert_eq!(decisions(&mut machine), [start(3)]);
        assert!(machine.status(3).cancelled);
    }

    /// What cannot be put on record stops the run while decisions wait to be asked for.
    #[test]
    fn a_stop_takes_back_what_was_not_asked_for() {
        let (mut machine, _) = machine(
            "  a: { run: [x] }\n  b: { run: [x] }\n  c: { if: 1 < 2, run: [x] }\n  d: { if: always(), run: [x] }\n",
            9,
        );
        assert_eq!(machine.next_decision(), Some(Decision::Evaluate(2)));
        machine.judged(2, true);
        assert_eq!(machine.next_decision(), Some(Decision::Evaluate(3)));
        machine.judged(3, true);
        assert_eq!(machine.next_decision(), Some(start(0)));
        machine.stop();
        let next = decisions(&mut machine);
        assert_eq!(ends(&next), [(1, Outcome::Cancelled), (2, Outcome::Cancelled)]);
        assert_eq!(next.last(), Some(&start(3)));
    }

    #[test]
    fn a_long_chain_of_skips_needs_no_stack() {
        let mut stages = "  s0: { run: [x] }\n".to_owned();
        for i in 1..50_000 {
            stages.push_str(&format!("  s{i}: {{ needs: s{}, run: [x] }}\n", i - 1));
        }
        let (mut machine, _) = machine(&stages, 4);
        decisions(&mut machine);
        machine.ended(job(0), &[(0, Outcome::Failure)]);
        assert_eq!(ends(&decisions(&mut machine)).len(), 49_999);
    }

    proptest! {
        /// Any graph, any outcomes, stopped at any moment: each stage ends once, none starts before its needs ended, never
        /// more run than may, `finally` starts last.
        #[test]
        fn every_stage_ends_exactly_once(
            needs in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1..24),
            conditions in prop::collection::vec(0_u8..4, 24),
            // None; else how many instances, whether one at a time, and whether the first failure ends the others.
            matrices in prop::collection::vec(prop::option::weighted(0.4, (0_usize..4, any::<bool>(), any::<bool>())), 24),
            outcomes in prop::collection::vec(0_u8..4, 48),
            order in prop::collection::vec(any::<prop::sample::Index>(), 48),
            stop_at in 0_usize..60,
            max_parallel in 1_usize..5,
        ) {
            let main = needs.len().div_ceil(4) * 3;
            let mut text = String::new();
            for (i, need) in needs.iter().enumerate() {
                if i == main.min(needs.len()) {
                    text.push_str("finally:\n");
                }
                let first = if i < main { 0 } else { main };
                let mut list: Vec<String> = need.iter().filter(|_| i > first).map(|n| format!("s{}", first + n.index(i - first))).collect();
                list.sort();
                list.dedup();
                let condition = ["", "if: 'true', ", "if: always(), ", "if: failure(), "][conditions[i] as usize];
                let matrix = if matrices[i].is_some() { "strategy: { matrix: { m: [1] } }, " } else { "" };
                text.push_str(&format!("  s{i}: {{ needs: [{}], {condition}{matrix}run: [x] }}\n", list.join(", ")));
            }
            let (mut machine, _) = machine(&text, max_parallel);
            let mut ended: HashMap<usize, Outcome> = HashMap::new();
            let mut instances: HashMap<(usize, usize), Outcome> = HashMap::new();
            let mut expected = 0;
            let mut running: Vec<Job> = Vec::new();
            let mut finished = false;
            for step in 0..500 {
                if step == stop_at {
                    machine.stop();
                }
                while let Some(decision) = machine.next_decision() {
                    match decision {
                        Decision::Evaluate(stage) => machine.judged(stage, outcomes[(stage + step) % 48] > 0),
                        Decision::Expand(stage) => {
                            let (count, one_at_a_time, fail_fast) = matrices[stage].unwrap();
                            let skipped: &[usize] = if step % 3 == 0 && count > 1 { &[0] } else { &[] };
                            // A stop may have come before.
                            if machine.state[stage] == State::Expanding {
                                expected += count;
                            }
                            machine.expanded(stage, count, one_at_a_time.then_some(1), fail_fast, skipped);
                        }
                        Decision::Start(job) => {
                            let needs_ended = machine.plan.stages[job.unit].needs.iter().all(|need| ended.contains_key(need));
                            prop_assert!(needs_ended, "{job:?} started early");
                            let is_finally = machine.plan.stages[job.unit].is_finally;
                            prop_assert!(!is_finally || (0..main.min(needs.len())).all(|s| ended.contains_key(&s)));
                            let one_at_a_time = matrices[job.unit].is_some_and(|(_, one, _)| one);
                            prop_assert!(!one_at_a_time || running.iter().all(|other| other.unit != job.unit));
                            running.push(job);
                            prop_assert!(running.len() <= max_parallel);
                        }
                        Decision::Stop(job) => prop_assert!(matrices[job.unit].is_some_and(|(_, _, fail_fast)| fail_fast)),
                        Decision::End { stage, instance: Some(instance), outcome, .. } => {
                            prop_assert!(!ended.contains_key(&stage), "an instance of {stage} ended after it");
                            prop_assert!(instances.insert((stage, instance), outcome).is_none(), "{stage} {instance} twice");
                        }
                        Decision::Complete { stage, outcome } | Decision::End { stage, outcome, .. } => {
                            prop_assert!(running.iter().all(|job| job.unit != stage), "{stage} ended while it ran");
                            prop_assert!(ended.insert(stage, outcome).is_none(), "{stage} ended twice");
                        }
                        Decision::Finish => finished = true,
                    }
                }
                if running.is_empty() {
                    break;
                }
                let job = running.swap_remove(order[step % 48].index(running.len()));
                let outcome = [Outcome::Success, Outcome::Failure, Outcome::Warning, Outcome::Skipped][outcomes[step % 48] as usize];
                match job.instance {
                    None => prop_assert!(ended.insert(job.unit, outcome).is_none()),
                    Some(instance) => prop_assert!(instances.insert((job.unit, instance), outcome).is_none()),
                }
                machine.ended(job, &[(job.unit, outcome)]);
            }
            prop_assert_eq!(instances.len(), expected);
            prop_assert!(finished);
            prop_assert_eq!(ended.len(), needs.len());
        }
    }
}

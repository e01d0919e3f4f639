//! The instances of a stage with a matrix: which may start, and the outcome of all together.

use std::collections::{HashSet, VecDeque};

use super::machine::{Decision, Job, Machine, State};
use super::outcome::reason;
use super::start::Obstacle;
use crate::event::Outcome;

/// The instances of a stage that runs.
#[derive(Debug)]
pub(super) struct Group {
    waiting: VecDeque<usize>,
    /// Those that run or are ready to.
    running: usize,
    most: usize,
    fail_fast: bool,
    /// The stage whose outputs its matrix lists, if that failed in part.
    failed: Option<usize>,
    outcomes: Vec<Option<Outcome>>,
    /// Those that have not ended.
    left: usize,
}

impl Group {
    /// The outcome of all instances together: the worst of theirs. Skipped ones count only if all were skipped, or if what they
    /// were to work on failed: what depends on the stage must not run then.
    fn outcome(&self) -> Outcome {
        let any = |wanted: Outcome| self.outcomes.iter().flatten().any(|outcome| *outcome == wanted);
        let worst = [Outcome::Failure, Outcome::Cancelled, Outcome::Warning, Outcome::Success];
        let considered = if self.failed.is_some() { &worst[..2] } else { &worst };
        considered.iter().copied().find(|outcome| any(*outcome)).unwrap_or(Outcome::Skipped)
    }
}

impl Machine {
    /// Takes the instances of a stage: how many there are, how many may run at the same time, and whether the failure of one
    /// cancels the others. Those in `skipped` have nothing to do.
    pub fn expanded(&mut self, stage: usize, count: usize, most: Option<usize>, fail_fast: bool, skipped: &[usize]) {
        if self.state[stage] != State::Expanding {
            return;
        }
        if count == 0 {
            self.block(stage, Obstacle::Matrix);
            self.propagate();
            return;
        }
        self.state[stage] = State::Running;
        let has_none: HashSet<usize> = skipped.iter().copied().collect();
        let waiting = (0..count).filter(|instance| !has_none.contains(instance)).collect();
        let most = most.unwrap_or(usize::MAX);
        let has_failed = |need: &usize| self.state[*need] == State::Ended(Outcome::Failure);
        let failed = self.plan.stages[stage].listed.iter().copied().find(has_failed);
        let reason = match failed {
            Some(need) => {
                format!("{}: its value in the matrix is null", reason(&self.plan.stages[need].name, Outcome::Failure))
            }
            None => "its value in the matrix is null".to_owned(),
        };
        let group = Group { waiting, running: 0, most, fail_fast, failed, outcomes: vec![None; count], left: count };
        self.groups.insert(stage, group);
        for &instance in skipped {
            self.end_instance(stage, instance, Outcome::Skipped, &reason);
        }
        self.start_more(stage);
        self.propagate();
    }

    pub(super) fn instance_ended(&mut self, unit: usize, stage: usize, instance: usize, outcome: Outcome) {
        let Some(group) = self.groups.get_mut(&stage) else { return };
        group.running -= 1;
        group.left -= 1;
        group.outcomes[instance] = Some(outcome);
        if group.fail_fast && outcome == Outcome::Failure {
            self.end_waiting(stage, "another instance failed");
            let group = &self.groups[&stage];
            let left = (0..group.outcomes.len()).filter(|&other| group.outcomes[other].is_none());
            let stops = left.map(|other| Decision::Stop(Job { unit, instance: Some(other) }));
            self.decisions.extend(stops.collect::<Vec<_>>());
        }
        self.start_more(stage);
    }

    /// Ends the instances that have not started.
    pub(super) fn end_waiting(&mut self, stage: usize, reason: &str) {
        let unit = self.plan.stages[stage].unit;
        let queued: Vec<usize> =
            self.ready.iter().filter(|job| job.unit == unit).filter_map(|job| job.instance).collect();
        self.ready.retain(|job| job.unit != unit || job.instance.is_none());
        let Some(group) = self.groups.get_mut(&stage) else { return };
        group.running -= queued.len();
        let waiting: Vec<usize> = group.waiting.drain(..).collect();
        for instance in queued.into_iter().chain(waiting) {
            self.end_instance(stage, instance, Outcome::Cancelled, reason);
        }
    }

    fn end_instance(&mut self, stage: usize, instance: usize, outcome: Outcome, reason: &str) {
        if let Some(group) = self.groups.get_mut(&stage) {
            group.left -= 1;
            group.outcomes[instance] = Some(outcome);
            self.decisions.push_back(Decision::End {
                stage,
                instance: Some(instance),
                outcome,
                reason: reason.to_owned(),
            });
        }
    }

    /// Makes as many instances ready as may run. Ends the stage with its last one.
    pub(super) fn start_more(&mut self, stage: usize) {
        let unit = self.plan.stages[stage].unit;
        let Some(group) = self.groups.get_mut(&stage) else { return };
        while group.running < group.most
            && let Some(instance) = group.waiting.pop_front()
        {
            group.running += 1;
            self.ready.push_back(Job { unit, instance: Some(instance) });
        }
        if group.left == 0 {
            let outcome = group.outcome();
            self.groups.remove(&stage);
            self.completed.insert(stage);
            self.decisions.push_back(Decision::Complete { stage, outcome });
            self.end(stage, outcome);
        }
    }
}

//! The outcome of a run where time does not decide: the rules of the design (section 2) and of ARCHITECTURE.md
//! ("Decisions"), one stage after the other. Shares nothing with the machine.

use std::collections::BTreeSet;
use std::ops::Range;

use super::graphs::{Act, Condition, End, Graph, Stage};
use crate::event::Outcome;
use crate::expression::Status;
use crate::pipeline::OnWarning;

/// The outcomes of stages.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) outcomes: Vec<Outcome>,
    /// By stage and instance; without instances, where a stage has none.
    pub(super) instances: Vec<Vec<Outcome>>,
    /// How many attempts at the unit of a stage are made, by instance; 0 where it does not run.
    pub(super) attempts: Vec<Vec<u32>>,
}

impl Expected {
    fn without_run(&mut self, stages: usize, outcome: Outcome) {
        for _ in 0..stages {
            self.push(outcome, 0);
        }
    }

    fn push(&mut self, outcome: Outcome, attempts: u32) {
        self.outcomes.push(outcome);
        self.instances.push(Vec::new());
        self.attempts.push(vec![attempts]);
    }
}

/// Evaluates a graph.
pub(super) fn expected(graph: &Graph) -> Expected {
    let mut expected = Expected::default();
    // A stage needs only earlier ones, and the stages of a unit stand together.
    while expected.outcomes.len() < graph.stages.len() {
        let unit = graph.unit(expected.outcomes.len());
        unit_of(graph, unit, &mut expected);
    }
    expected
}

fn unit_of(graph: &Graph, unit: Range<usize>, expected: &mut Expected) {
    let first = &graph.stages[unit.start];
    let failed = || {
        if first.continue_on_error { Outcome::Warning } else { Outcome::Failure }
    };
    let needs = graph.needs_of_unit(unit.start);
    let bad: Vec<usize> = needs.into_iter().filter(|&need| !expected.outcomes[need].is_ok()).collect();
    let over = first.matrix.as_ref().and_then(|matrix| matrix.over);
    // What a stage gave in part is worked on, although that stage failed.
    let is_in_part = match (bad.as_slice(), over) {
        (&[need], Some(over)) => {
            first.condition == Condition::None
                && need == over
                && expected.outcomes[need] == Outcome::Failure
                && !expected.instances[need].is_empty()
        }
        _ => false,
    };
    if !first.condition.names_a_status() && !bad.is_empty() && !is_in_part {
        return expected.without_run(unit.len(), Outcome::Skipped);
    }
    match first.condition.value(status(graph, unit.start, &expected.outcomes)) {
        Some(true) => {}
        Some(false) => return expected.without_run(unit.len(), Outcome::Skipped),
        None => return expected.without_run(unit.len(), failed()),
    }
    let Some(matrix) = &first.matrix else {
        let (outcomes, attempts) = tried(graph, unit, 0);
        for outcome in outcomes {
            expected.push(outcome, attempts);
        }
        return;
    };
    let is_broken = over.map_or(matrix.is_broken, |over| expected.instances[over].is_empty());
    if is_broken {
        return expected.without_run(unit.len(), failed());
    }
    let instances = (0..matrix.count).map(|instance| {
        let gave = |over: usize| expected.instances[over][instance].is_ok() && is_done(graph, over, instance);
        if over.map_or_else(|| matrix.skipped.contains(&instance), |over| !gave(over)) {
            return (Outcome::Skipped, 0);
        }
        let (outcomes, attempts) = tried(graph, unit.clone(), instance);
        (outcomes[0], attempts)
    });
    let (outcomes, attempts): (Vec<_>, Vec<_>) = instances.unzip();
    let considered = |outcome: &&Outcome| !is_in_part || !outcome.is_ok();
    expected.outcomes.push(worst(&outcomes.iter().filter(considered).copied().collect::<Vec<_>>()));
    expected.instances.push(outcomes);
    expected.attempts.push(attempts);
}

/// The worst outcome of instances; skipped where all were or there are none.
pub(super) fn worst(outcomes: &[Outcome]) -> Outcome {
    let order = [Outcome::Skipped, Outcome::Success, Outcome::Warning, Outcome::Cancelled, Outcome::Failure];
    let rank = |outcome: &Outcome| order.iter().position(|other| other == outcome);
    outcomes.iter().copied().max_by_key(rank).unwrap_or(Outcome::Skipped)
}

/// What the status functions say in a run that nobody stops.
fn status(graph: &Graph, stage: usize, outcomes: &[Outcome]) -> Status {
    let one = &graph.stages[stage];
    let sees_all = one.is_finally && one.needs.is_empty();
    let main = || (0..graph.stages.len()).filter(|&other| !graph.stages[other].is_finally).collect();
    let watched: Vec<usize> = if sees_all { main() } else { one.needs.clone() };
    // A failure counts however far back it was.
    let mut before = BTreeSet::new();
    let mut open = watched.clone();
    while let Some(need) = open.pop() {
        if before.insert(need) {
            open.extend(&graph.stages[need].needs);
        }
    }
    let is_ok = |&need: &usize| outcomes[need].is_ok() || (one.is_finally && outcomes[need] == Outcome::Skipped);
    Status {
        success: watched.iter().all(is_ok),
        failure: before.iter().any(|&need| outcomes[need] == Outcome::Failure),
        cancelled: false,
    }
}

/// The attempts at a unit, or at an instance of its stage: the outcomes of its stages, and how many are made.
fn tried(graph: &Graph, unit: Range<usize>, instance: usize) -> (Vec<Outcome>, u32) {
    let (act, is_late, number) = last_attempt(&graph.stages[unit.end - 1], instance);
    (came_to(graph, unit, act, is_late), number)
}

/// What the last attempt does, whether it takes too long, and its number.
fn last_attempt(last: &Stage, instance: usize) -> (Act, bool, u32) {
    let acts = &last.acts[instance];
    let mut number = 1;
    loop {
        let act = acts[(number as usize - 1).min(acts.len() - 1)];
        let is_late = last.timeout.is_some_and(|limit| act.millis > limit || matches!(act.end, End::Hang | End::Deaf));
        let is_again = act.end == End::Transient && !is_late && number < last.attempts;
        if !is_again {
            return (act, is_late, number);
        }
        number += 1;
    }
}

/// Whether an instance does its work and gives something. One whose failure the file forgives does not.
fn is_done(graph: &Graph, stage: usize, instance: usize) -> bool {
    let one = &graph.stages[stage];
    let (act, is_late, _) = last_attempt(one, instance);
    let fails_for_warning = act.warns && one.on_warning.unwrap_or(graph.on_warning) == OnWarning::Fail;
    act.end == End::Well && !is_late && !fails_for_warning
}

fn came_to(graph: &Graph, unit: Range<usize>, act: Act, is_late: bool) -> Vec<Outcome> {
    let culprit = unit.start + act.place % unit.len();
    let failed = |stage: usize| {
        if graph.stages[stage].continue_on_error { Outcome::Warning } else { Outcome::Failure }
    };
    if is_late || matches!(act.end, End::Panic | End::PanicAtOnce | End::Nothing) {
        return unit.map(failed).collect();
    }
    let on_warning = graph.stages[culprit].on_warning.unwrap_or(graph.on_warning);
    let own = match act.end {
        End::Failure | End::Transient => failed(culprit),
        End::Skip => Outcome::Skipped,
        _ if !act.warns || on_warning == OnWarning::Ignore => Outcome::Success,
        _ if on_warning == OnWarning::Warn => Outcome::Warning,
        _ => failed(culprit),
    };
    let is_done = act.end == End::Well && !(act.warns && on_warning == OnWarning::Fail);
    unit.map(|stage| match stage {
        _ if stage == culprit => own,
        _ if is_done => Outcome::Success,
        // A chain commits together: what ended well is lost, too.
        _ if stage < culprit || act.end == End::Well => Outcome::Cancelled,
        _ => Outcome::Skipped,
    })
    .collect()
}

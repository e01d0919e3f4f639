//! Why a stage does not start.
//!
//! The machine asks with what has happened, `plan` with what is known before a run. So both give the same reason.

use super::{Plan, outcome};
use crate::event::Outcome;

/// What is known of a stage that has not started.
pub struct Known<'a> {
    /// Whether the run was cancelled.
    pub cancelled: bool,
    /// The outcome of each stage; `None` if it is not known yet.
    pub outcome: &'a dyn Fn(usize) -> Option<Outcome>,
    /// Whether a stage that ended had instances.
    pub had_instances: &'a dyn Fn(usize) -> bool,
    /// Whether its `if` holds; `None` if that is not known yet, or it has none.
    pub condition: Option<bool>,
    /// How many instances its matrix gives; `None` if that is not known yet, or it has none.
    pub instances: Option<usize>,
}

/// Why a stage does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The run was cancelled first.
    Cancelled,
    /// A stage that it needs has this outcome.
    Need(usize, Outcome),
    /// Its `if` is false.
    Condition,
    /// Its matrix has no values.
    Matrix,
}

impl Obstacle {
    /// The outcome of the stage.
    pub fn outcome(self) -> Outcome {
        if self == Self::Cancelled { Outcome::Cancelled } else { Outcome::Skipped }
    }

    /// The reason, for people.
    pub fn reason(self, plan: &Plan) -> String {
        match self {
            Self::Cancelled => "the run was stopped before it began".to_owned(),
            Self::Need(need, outcome) => outcome::reason(&plan.stages[need].name, outcome),
            Self::Condition => "its `if` is false".to_owned(),
            Self::Matrix => "its matrix has no values".to_owned(),
        }
    }
}

/// The first obstacle of a stage, if what is known has one. The stages of a unit start together, so they have the same ones.
pub fn obstacle(plan: &Plan, stage: usize, known: &Known<'_>) -> Option<Obstacle> {
    let planned = &plan.stages[stage];
    if known.cancelled && ends_with_the_run(plan, stage) {
        return Some(Obstacle::Cancelled);
    }
    if !planned.has_status_function {
        let needs = plan.units[planned.unit].stages.iter().flat_map(|&stage| &plan.stages[stage].needs);
        let outside = needs.copied().filter(|&need| plan.stages[need].unit != planned.unit);
        let bad = |need| Some((need, (known.outcome)(need).filter(|outcome| !outcome.is_ok())?));
        let mut bad = outside.filter_map(bad);
        match (bad.next(), bad.next()) {
            (Some((need, outcome)), None) if gave_a_part(plan, stage, need, outcome, known) => {}
            (Some((need, outcome)), _) => return Some(Obstacle::Need(need, outcome)),
            (None, _) => {}
        }
    }
    match known {
        Known { condition: Some(false), .. } => Some(Obstacle::Condition),
        Known { instances: Some(0), .. } => Some(Obstacle::Matrix),
        _ => None,
    }
}

/// Whether a stage runs although this one, which it needs, failed: its matrix lists what instances of that one gave. So a copy
/// that arrived is proven although another store is down.
fn gave_a_part(plan: &Plan, stage: usize, need: usize, outcome: Outcome, known: &Known<'_>) -> bool {
    outcome == Outcome::Failure && plan.stages[stage].listed.contains(&need) && (known.had_instances)(need)
}

/// Whether a stage that has not started does not start once the run is cancelled. `finally` and stages whose `if` uses a status
/// function still run: that is where people put what cleans up.
pub fn ends_with_the_run(plan: &Plan, stage: usize) -> bool {
    !plan.stages[stage].is_finally && !plan.stages[stage].has_status_function
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan() -> Plan {
        let file = json!({
            "version": 1, "name": "t",
            "stages": {
                "a": { "run": ["x"] },
                "b": { "run": ["x"] },
                "plain": { "needs": ["a", "b"], "run": ["x"] },
                "judge": { "needs": ["a", "b"], "if": "always()", "run": ["x"] },
                "collect": { "needs": ["a"], "uses": "archive", "with": { "sources": ["x"] } },
                "seal": {
                    "needs": ["b", "collect"], "uses": "encrypt",
                    "with": { "artifact": "${{ needs.collect.outputs.artifact }}" },
                },
            },
            "finally": { "last": { "run": ["x"] } },
        });
        Plan::new(&serde_json::from_value(file).unwrap())
    }

    #[test]
    fn the_first_obstacle_decides() {
        use Outcome::{Failure, Skipped, Success, Warning};
        let plan = plan();
        for (stage, cancelled, outcomes, condition, instances, reason) in [
            ("plain", false, [Some(Success), Some(Warning)], None, None, None),
            ("plain", false, [None, None], Some(true), Some(2), None),
            ("plain", false, [Some(Success), Some(Failure)], Some(false), None, Some("`b` failed")),
            ("plain", false, [Some(Skipped), Some(Failure)], None, None, Some("`a` was skipped")),
            ("plain", false, [None, Some(Outcome::Cancelled)], None, None, Some("`b` was cancelled")),
            ("plain", true, [Some(Failure), None], None, None, Some("the run was stopped before it began")),
            ("plain", false, [None, None], Some(false), Some(0), Some("its `if` is false")),
            ("plain", false, [None, None], None, Some(0), Some("its matrix has no values")),
            ("judge", true, [Some(Failure), Some(Skipped)], None, None, None),
            ("judge", true, [Some(Failure), None], Some(false), None, Some("its `if` is false")),
            ("last", true, [Some(Failure), None], None, None, None),
            // A stream starts as a whole.
            ("collect", false, [Some(Success), Some(Failure)], None, None, Some("`b` failed")),
            ("seal", false, [Some(Skipped), Some(Success)], None, None, Some("`a` was skipped")),
        ] {
            let number = plan.stages.iter().position(|one| one.name == stage).unwrap();
            let outcome = |need: usize| outcomes.get(need).copied().flatten();
            let known = Known { cancelled, outcome: &outcome, had_instances: &|_| true, condition, instances };
            let obstacle = obstacle(&plan, number, &known);
            assert_eq!(obstacle.map(|one| one.reason(&plan)).as_deref(), reason, "{stage} {outcomes:?}");
            let is_cancelled = obstacle.is_some_and(|one| one.outcome() == Outcome::Cancelled);
            assert_eq!(is_cancelled, reason.is_some_and(|reason| reason.contains("stopped")));
        }
    }
}

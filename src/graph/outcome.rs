//! How a stage ends: from the result of its last attempt, what it warned of, and what its file makes of that.

use serde_json::{Map, Value as Json};

use super::Plan;
use super::chain::{Fate, Link, settle};
use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::event::Outcome;
use crate::pipeline::OnWarning;
use crate::stages::fails_for_warning;

/// How one stage of an attempt ended, before its chain and its file have their say.
#[derive(Debug)]
pub struct Ended {
    /// Which stage.
    pub stage: usize,
    /// How.
    pub end: OwnEnd,
}

/// The result of one stage of an attempt.
#[derive(Debug)]
pub enum OwnEnd {
    /// It did its work in this session; its outputs.
    Done(Map<String, Json>),
    /// An earlier session of the run did its work, and that still holds.
    Recalled {
        /// Its outputs.
        outputs: Map<String, Json>,
        /// Whether it warned.
        warned: bool,
    },
    /// It failed for a reason of its own.
    Failed(Diagnostic),
    /// It failed with this error, and only because the stage that reads from it went away.
    LostReader(Diagnostic),
    /// It failed with this error, and only because the stage that writes to it went away.
    LostWriter(Diagnostic),
    /// It did not begin, because another stage of its chain could not.
    NotBegun,
    /// It had nothing to do; why.
    NothingToDo(String),
    /// The selection of the run leaves it out.
    LeftOut,
}

impl OwnEnd {
    fn link(&self) -> Link {
        match self {
            Self::Done(_) | Self::Recalled { .. } => Link::Done,
            Self::Failed(_) | Self::NothingToDo(_) | Self::LeftOut => Link::Cause,
            Self::LostReader(_) => Link::LostReader,
            Self::LostWriter(_) => Link::LostWriter,
            Self::NotBegun => Link::NotBegun,
        }
    }
}

/// How a stage, or an instance of it, ends.
#[derive(Clone, Debug)]
pub struct End {
    /// Its outcome.
    pub outcome: Outcome,
    /// What others may use.
    pub outputs: Map<String, Json>,
    /// Why it was skipped or cancelled.
    pub reason: Option<String>,
    /// Why it failed, also where the file forgives that.
    pub error: Option<Diagnostic>,
    /// An earlier session of the run did it.
    pub is_recalled: bool,
}

/// A stage that did its work in this session: what a later one may count on.
#[derive(Clone, Debug)]
pub struct Done {
    /// Which stage.
    pub stage: usize,
    /// Which instance of it.
    pub instance: Option<usize>,
    /// Its outputs.
    pub outputs: Map<String, Json>,
    /// Whether it warned.
    pub warned: bool,
}

impl End {
    /// A stage that ends without having done its work, and without an error of its own.
    pub fn without_run(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, outputs: Map::new(), reason: Some(reason.into()), error: None, is_recalled: false }
    }

    /// A stage that fails. `continue-on-error` makes a warning of it, not a success: dependants run, and the exit code
    /// still says 3.
    pub fn failed(error: Diagnostic, continue_on_error: bool) -> Self {
        let outcome = if continue_on_error { Outcome::Warning } else { Outcome::Failure };
        Self { outcome, outputs: Map::new(), reason: None, error: Some(error), is_recalled: false }
    }

    fn well(outputs: Map<String, Json>, warned: bool, is_recalled: bool) -> Self {
        let outcome = if warned { Outcome::Warning } else { Outcome::Success };
        Self { outcome, outputs, reason: None, error: None, is_recalled }
    }

    /// What a later session of the run may count on: nothing, unless the stage did its work now.
    pub fn done(&self, stage: usize, instance: Option<usize>) -> Option<Done> {
        let is_done = self.outcome.is_ok() && self.error.is_none() && !self.is_recalled;
        let warned = self.outcome == Outcome::Warning;
        is_done.then(|| Done { stage, instance, outputs: self.outputs.clone(), warned })
    }
}

/// Exactly one end for each stage of a unit, whatever its attempt gave. `missing` is the error of a stage that it left out.
pub fn one_each(stages: &[usize], mut given: Vec<Ended>, missing: impl Fn() -> Diagnostic) -> Vec<Ended> {
    let one = |&stage: &usize| match given.iter().position(|ended| ended.stage == stage) {
        Some(at) => given.swap_remove(at),
        None => Ended { stage, end: OwnEnd::Failed(missing()) },
    };
    stages.iter().map(one).collect()
}

/// How one instance of a stage ended.
#[derive(Debug)]
pub struct EndedInstance {
    /// Its outcome.
    pub outcome: Outcome,
    /// Its outputs.
    pub outputs: Json,
    /// Whether an earlier session did it.
    pub is_recalled: bool,
}

/// The end of a stage with instances, from their common outcome and the end of each, if it has one. `names` are its outputs.
/// Each is a list, with `null` for an instance that did not end well. The stage is recalled if no instance did anything.
pub fn of_instances<'a>(
    names: &[String],
    outcome: Outcome,
    ended: impl Iterator<Item = Option<&'a EndedInstance>> + Clone,
) -> End {
    let list = |name: &String| {
        let value = |one: Option<&EndedInstance>| match one {
            Some(one) if one.outcome.is_ok() => one.outputs[name].clone(),
            _ => Json::Null,
        };
        (name.clone(), Json::Array(ended.clone().map(value).collect()))
    };
    let reason = (!outcome.is_ok()).then(|| {
        let alike = ended.clone().flatten().filter(|one| one.outcome == outcome).count();
        format!("{alike} of {} instances: {}", ended.clone().count(), outcome.word())
    });
    let did_nothing =
        |one: Option<&EndedInstance>| one.is_some_and(|one| one.is_recalled || one.outcome == Outcome::Skipped);
    let is_recalled = outcome.is_ok() && ended.clone().all(did_nothing);
    End { outcome, outputs: names.iter().map(list).collect(), reason, error: None, is_recalled }
}

/// Why a stage does not do its work: another one, which it depends on, has this outcome.
pub fn reason(name: &str, outcome: Outcome) -> String {
    let verb = match outcome {
        Outcome::Failure | Outcome::Warning => "failed",
        Outcome::Skipped => "was skipped",
        _ => "was cancelled",
    };
    format!("`{name}` {verb}")
}

/// The end of each stage of an attempt that is not repeated. `warned`: whether a stage warned in it; `run_cancelled`:
/// whether the whole run was asked to stop.
pub fn of(
    plan: &Plan,
    mut ended: Vec<Ended>,
    warned: &dyn Fn(usize) -> bool,
    run_cancelled: bool,
) -> Vec<(usize, End)> {
    for one in &mut ended {
        let has_warned = match one.end {
            OwnEnd::Done(_) => warned(one.stage),
            OwnEnd::Recalled { warned, .. } => warned,
            _ => false,
        };
        if has_warned && plan.stages[one.stage].on_warning == OnWarning::Fail {
            one.end = OwnEnd::Failed(fails_for_warning());
        }
    }
    let fates = settle(&ended.iter().map(|one| one.end.link()).collect::<Vec<_>>());
    let own = |one: &Ended| {
        let planned = &plan.stages[one.stage];
        let shows = planned.on_warning == OnWarning::Warn;
        match &one.end {
            OwnEnd::Done(outputs) => End::well(outputs.clone(), shows && warned(one.stage), false),
            OwnEnd::Recalled { outputs, warned } => End::well(outputs.clone(), shows && *warned, true),
            OwnEnd::NothingToDo(why) => End::without_run(Outcome::Skipped, why.as_str()),
            OwnEnd::LeftOut => End::without_run(Outcome::Skipped, "not selected"),
            OwnEnd::Failed(error) | OwnEnd::LostReader(error) | OwnEnd::LostWriter(error) => {
                if error.kind == Kind::Cancelled {
                    let reason = if run_cancelled { "the run was stopped" } else { "another instance failed" };
                    return End::without_run(Outcome::Cancelled, reason);
                }
                End::failed(error.clone(), planned.stage.continue_on_error)
            }
            OwnEnd::NotBegun => End::failed(Diagnostic::failure(codes::TL0604, "this stage was not begun"), false),
        }
    };
    let ends: Vec<End> = ended.iter().map(own).collect();
    let settled = fates.iter().enumerate().map(|(place, fate)| match fate {
        Fate::Own => ends[place].clone(),
        Fate::Lost { outcome, cause } => {
            let name = &plan.stages[ended[*cause].stage].name;
            End::without_run(*outcome, reason(name, ends[*cause].outcome))
        }
    });
    ended.iter().map(|one| one.stage).zip(settled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_unit_has_one_end_for_each_stage() {
        let done = |stage| Ended { stage, end: OwnEnd::NotBegun };
        for (given, missing) in
            [(vec![1, 2], vec![]), (vec![2, 1, 2, 7], vec![]), (vec![2], vec![1]), (vec![], vec![1, 2])]
        {
            let given = given.into_iter().map(done).collect();
            let ended = one_each(&[1, 2], given, || Diagnostic::failure(codes::TL0903, "missing"));
            assert_eq!(ended.iter().map(|one| one.stage).collect::<Vec<_>>(), [1, 2]);
            let failed = ended.iter().filter(|one| matches!(one.end, OwnEnd::Failed(_)));
            assert_eq!(failed.map(|one| one.stage).collect::<Vec<_>>(), missing);
        }
    }

    #[test]
    fn instances_give_lists_and_a_count() {
        use Outcome::{Failure, Skipped, Success, Warning};
        let of = |outcome, n: u8, is_recalled| Some(EndedInstance { outcome, outputs: json!({ "n": n }), is_recalled });
        let n = |outcome, n| of(outcome, n, false);
        for (outcome, given, list, reason) in [
            (Warning, vec![n(Success, 1), n(Warning, 2), n(Skipped, 3)], json!([1, 2, null]), None),
            (
                Failure,
                vec![n(Failure, 1), n(Success, 2), None],
                json!([null, 2, null]),
                Some("1 of 3 instances: failure"),
            ),
            (Skipped, vec![n(Skipped, 1)], json!([null]), Some("1 of 1 instances: skipped")),
        ] {
            let end = of_instances(&["n".to_owned()], outcome, given.iter().map(Option::as_ref));
            assert_eq!((end.outcome, &end.outputs["n"], end.reason.as_deref()), (outcome, &list, reason));
            assert!(!end.is_recalled);
        }
        for (second, is_recalled) in
            [(of(Success, 2, true), true), (n(Skipped, 2), true), (n(Success, 2), false), (None, false)]
        {
            let given = [of(Success, 1, true), second];
            assert_eq!(of_instances(&[], Success, given.iter().map(Option::as_ref)).is_recalled, is_recalled);
        }
    }
}

//! How a stage ended, from what became of it, and how a run did.

use serde_json::{Map, Value as Json};

use super::worker::{Done, Ended};
use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::event::Outcome;
use crate::graph::Plan;
use crate::pipeline::OnWarning;
use crate::stages::{SKIP, fails_for_warning};
use crate::value::CancelReason;

/// What became of a run's stages.
#[derive(Debug)]
pub struct Finished {
    /// One for each stage, in the order of the plan.
    pub outcomes: Vec<Outcome>,
    /// Why each failed stage failed, in the order in which they ended.
    pub errors: Vec<(usize, Diagnostic)>,
    /// Why the run was stopped, if it was.
    pub stopped: Option<CancelReason>,
    /// What could not be put on record; the run was stopped for it.
    pub record_error: Option<Diagnostic>,
}

/// A stage, or an instance of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Which {
    pub(super) stage: usize,
    pub(super) instance: Option<usize>,
}

impl From<usize> for Which {
    fn from(stage: usize) -> Self {
        Self { stage, instance: None }
    }
}

/// How a stage, or an instance of it, ended.
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) outputs: Map<String, Json>,
    pub(super) reason: Option<String>,
    pub(super) error: Option<Diagnostic>,
    /// An earlier session of the run did it.
    pub(super) is_recalled: bool,
}

impl End {
    pub(super) fn without_run(outcome: Outcome, reason: String) -> Self {
        Self { outcome, outputs: Map::new(), reason: Some(reason), error: None, is_recalled: false }
    }

    /// `forgiving`: a failure counts as a warning.
    pub(super) fn failed(error: Diagnostic, forgiving: bool) -> Self {
        let outcome = if forgiving { Outcome::Warning } else { Outcome::Failure };
        Self { outcome, outputs: Map::new(), reason: None, error: Some(error), is_recalled: false }
    }

    /// From what a stage came to: `on_warning` says what to make of it if it warned.
    pub(super) fn of(ended: Ended, on_warning: Option<OnWarning>, forgiving: bool, run_stopped: bool) -> Self {
        let result = match (ended.result, on_warning) {
            (Ok(_), Some(OnWarning::Fail)) => Err(fails_for_warning()),
            (result, _) => result,
        };
        let is_recalled = ended.recalled.is_some();
        let end = |outcome, outputs| Self { outcome, outputs, reason: None, error: None, is_recalled };
        match (result, ended.victim) {
            (Ok(outputs), _) if on_warning == Some(OnWarning::Warn) => end(Outcome::Warning, outputs),
            (Ok(outputs), _) => end(Outcome::Success, outputs),
            (Err(_), Some((outcome, reason))) => Self::without_run(outcome, reason),
            (Err(error), None) if error.code == SKIP => Self::without_run(Outcome::Skipped, error.message),
            (Err(error), None) if error.kind == Kind::Cancelled => {
                let reason = if run_stopped { "the run was stopped" } else { "another instance failed" };
                Self::without_run(Outcome::Cancelled, reason.to_owned())
            }
            (Err(error), None) => Self::failed(error, forgiving),
        }
    }

    /// What a later session of the run may count on, where the stage did what it is for.
    pub(super) fn done(&self, stage: usize, instance: Option<usize>) -> Option<Done> {
        let is_done = self.outcome.is_ok() && self.error.is_none() && !self.is_recalled;
        let warned = self.outcome == Outcome::Warning;
        is_done.then(|| Done { stage, instance, outputs: self.outputs.clone(), warned })
    }
}

/// A chain commits together: where one of its stages fails for its warning, what the others did counts for nothing.
pub(super) fn end_together(plan: &Plan, warned: &dyn Fn(usize) -> bool, ended: &mut [Ended]) {
    let fails =
        |one: &Ended| one.result.is_ok() && warned(one.stage) && plan.stages[one.stage].on_warning == OnWarning::Fail;
    let Some(culprit) = ended.iter().position(fails) else { return };
    let reason = format!("`{}` failed", plan.stages[ended[culprit].stage].name);
    for (place, one) in ended.iter_mut().enumerate().filter(|(place, _)| *place != culprit) {
        let outcome = if place < culprit { Outcome::Cancelled } else { Outcome::Skipped };
        one.result = Err(Diagnostic::failure(codes::TL0604, "what this stage gave was not kept"));
        one.victim = Some((outcome, reason.clone()));
    }
}

//! How a stage ended, from what became of it.

use serde_json::{Map, Value as Json};

use super::worker::Ended;
use crate::diagnostic::{Diagnostic, Kind};
use crate::event::Outcome;
use crate::pipeline::OnWarning;
use crate::stages::SKIP;

/// How a stage, or an instance of it, ended.
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) outputs: Map<String, Json>,
    pub(super) reason: Option<String>,
    pub(super) error: Option<Diagnostic>,
}

impl End {
    pub(super) fn without_run(outcome: Outcome, reason: String) -> Self {
        Self { outcome, outputs: Map::new(), reason: Some(reason), error: None }
    }

    /// `forgiving`: a failure counts as a warning.
    pub(super) fn failed(error: Diagnostic, forgiving: bool) -> Self {
        let outcome = if forgiving { Outcome::Warning } else { Outcome::Failure };
        Self { outcome, outputs: Map::new(), reason: None, error: Some(error) }
    }

    /// From what a stage came to: `on_warning` says what to make of it if it warned.
    pub(super) fn of(ended: Ended, on_warning: Option<OnWarning>, forgiving: bool, run_stopped: bool) -> Self {
        let result = match (ended.result, on_warning) {
            (Ok(_), Some(OnWarning::Fail)) => {
                Err(Diagnostic::failure("TL0609", "this stage warned, and its `on-warning` says that it fails then"))
            }
            (result, _) => result,
        };
        let end = |outcome, outputs| Self { outcome, outputs, reason: None, error: None };
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
}

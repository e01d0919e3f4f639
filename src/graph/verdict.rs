//! How a run ends, from the ends of its stages.

use crate::diagnostic::{Diagnostic, ExitCode, Kind};
use crate::event::Outcome;
use crate::value::CancelReason;

/// What became of a run's stages.
#[derive(Debug)]
pub struct Finished {
    /// The outcome of each stage, in the order of the plan.
    pub outcomes: Vec<Outcome>,
    /// Why each failed stage failed, in the order in which they ended.
    pub errors: Vec<(usize, Diagnostic)>,
    /// Why the run was cancelled, if it was.
    pub stopped: Option<CancelReason>,
    /// What the audit log refused; the run was cancelled for it.
    pub record_error: Option<Diagnostic>,
}

/// The outcome of a run and its exit code. The first that applies: 20, 130, 124, the cause of the first failed stage, 4, 3, 75, 0.
pub fn verdict(finished: &Finished) -> (Outcome, ExitCode) {
    let failed = |kind: Kind| finished.errors.iter().any(|(_, error)| error.kind == kind);
    let any = |outcome: Outcome| finished.outcomes.contains(&outcome);
    if let Some(error) = &finished.record_error {
        return (Outcome::Failure, code(error));
    }
    if failed(Kind::Audit) {
        return (Outcome::Failure, ExitCode::Audit);
    }
    match finished.stopped {
        Some(CancelReason::Requested) => return (Outcome::Cancelled, ExitCode::Cancelled),
        Some(CancelReason::RunTimeout | CancelReason::StageTimeout) => {
            return (Outcome::Failure, ExitCode::TimedOut);
        }
        // `fail-fast` cancels instances, never a run.
        Some(CancelReason::Sibling) | None => {}
    }
    // A failed verification decides only if nothing else failed.
    let first = finished.errors.iter().map(|(_, error)| error).find(|error| error.kind != Kind::Verification);
    if let Some(first) = first {
        return (Outcome::Failure, code(first));
    }
    if failed(Kind::Verification) {
        return (Outcome::Failure, ExitCode::Unproven);
    }
    if any(Outcome::Warning) {
        return (Outcome::Warning, ExitCode::Warnings);
    }
    if !finished.outcomes.is_empty() && finished.outcomes.iter().all(|outcome| *outcome == Outcome::Skipped) {
        return (Outcome::Skipped, ExitCode::NothingDone);
    }
    (Outcome::Success, ExitCode::Success)
}

/// The outcome of a run that something warns of which is of no stage.
pub fn warned((outcome, exit_code): (Outcome, ExitCode)) -> (Outcome, ExitCode) {
    match outcome {
        Outcome::Success => (Outcome::Warning, ExitCode::Warnings),
        _ => (outcome, exit_code),
    }
}

fn code(error: &Diagnostic) -> ExitCode {
    match error.kind {
        // These exit codes speak of the run; in a stage they are plain failures.
        Kind::TimedOut | Kind::Usage | Kind::Cancelled | Kind::Verification => ExitCode::Failure,
        kind => kind.exit_code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::codes;

    fn finished(outcomes: &[Outcome], kinds: &[Kind], stopped: Option<CancelReason>) -> Finished {
        Finished {
            outcomes: outcomes.to_vec(),
            errors: kinds.iter().map(|kind| (0, Diagnostic::new(codes::TL0651, *kind, "no"))).collect(),
            stopped,
            record_error: None,
        }
    }

    #[test]
    fn the_first_cause_in_order_decides() {
        use Outcome::{Failure, Skipped, Success, Warning};
        for (outcomes, kinds, stopped, code) in [
            (&[Success, Skipped][..], &[][..], None, 0),
            (&[Success, Warning], &[], None, 3),
            (&[Skipped, Skipped], &[], None, 75),
            (&[Failure, Warning], &[Kind::Failure, Kind::Key], None, 1),
            (&[Failure], &[Kind::Key, Kind::Failure], None, 12),
            (&[Failure], &[Kind::Destination], None, 10),
            (&[Failure], &[Kind::Verification], None, 4),
            (&[Failure], &[Kind::Verification, Kind::Failure], None, 1),
            (&[Failure], &[Kind::TimedOut], None, 1),
            (&[Failure], &[Kind::Failure], Some(CancelReason::RunTimeout), 124),
            (&[Failure], &[Kind::Failure], Some(CancelReason::Requested), 130),
            (&[Failure], &[Kind::Audit], Some(CancelReason::Requested), 20),
        ] {
            assert_eq!(
                u8::from(verdict(&finished(outcomes, kinds, stopped)).1),
                code,
                "{outcomes:?} {kinds:?} {stopped:?}"
            );
        }
    }
}

//! How a run ends, from the ends of its stages.

use crate::diagnostic::{Diagnostic, Kind};
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

/// What a process exits with when it had nothing to do.
pub const SKIPPED: u8 = 75;

/// How a run ended, and what the process exits with: 20, 130, 124, 2, then the first failed stage's own cause, 4, 3, 75, 0.
pub fn verdict(finished: &Finished) -> (Outcome, u8) {
    let failed = |kind: Kind| finished.errors.iter().any(|(_, error)| error.kind == kind);
    let any = |outcome: Outcome| finished.outcomes.contains(&outcome);
    if let Some(error) = &finished.record_error {
        return (Outcome::Failure, code(error));
    }
    if failed(Kind::Audit) {
        return (Outcome::Failure, Kind::Audit.exit_code());
    }
    match finished.stopped {
        Some(CancelReason::Requested) => return (Outcome::Cancelled, Kind::Cancelled.exit_code()),
        Some(CancelReason::RunTimeout | CancelReason::StageTimeout) => {
            return (Outcome::Failure, Kind::TimedOut.exit_code());
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
        return (Outcome::Failure, Kind::Verification.exit_code());
    }
    if any(Outcome::Warning) {
        return (Outcome::Warning, 3);
    }
    if !finished.outcomes.is_empty() && finished.outcomes.iter().all(|outcome| *outcome == Outcome::Skipped) {
        return (Outcome::Skipped, SKIPPED);
    }
    (Outcome::Success, 0)
}

fn code(error: &Diagnostic) -> u8 {
    match error.kind {
        // These codes are about the run or the file. A stage that timed out or was misused is a plain failure.
        Kind::TimedOut | Kind::Usage | Kind::Cancelled | Kind::Verification => Kind::Failure.exit_code(),
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
            assert_eq!(verdict(&finished(outcomes, kinds, stopped)).1, code, "{outcomes:?} {kinds:?} {stopped:?}");
        }
    }
}

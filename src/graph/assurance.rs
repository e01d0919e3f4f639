//! Whether a run that ended well counts as a success: the one that `expect` and monitors wait for.
//!
//! A run that only proves an old copy, or whose delivery was skipped, ends well and protects nothing new. It must not silence
//! the alarm of a pipeline that delivers nothing.

use super::Plan;
use crate::event::{Assurance, Outcome};
use crate::stages::StageKind;

/// How far the success of a run is proven, or why it does not count as one. `outcomes` are those of the stages, in the order
/// of the plan, recalled ones included; `undone` tells what became of an instance of a stage that did not do its work, also where
/// the file forgives that: it completes the sentence "the stage …"; `left_out` are the stages that the selection left undone.
///
/// A run of a file that delivers counts if each delivery ended well and each object that the file verifies was proven. Any
/// other run counts if all of it was done.
pub fn assurance(
    plan: &Plan,
    outcomes: &[Outcome],
    undone: &dyn Fn(&str) -> Option<&'static str>,
    left_out: &[String],
) -> Result<Assurance, String> {
    let of_kind = |does: fn(&StageKind) -> bool| {
        let stages = plan.stages.iter().zip(outcomes);
        stages.filter(move |(planned, _)| planned.stage.kind().is_some_and(does))
    };
    let missed = |does| {
        of_kind(does).filter_map(|(planned, outcome)| {
            let verb = match outcome {
                Outcome::Skipped => "was skipped",
                outcome if outcome.is_ok() => undone(&planned.name)?,
                _ => "failed",
            };
            Some(format!("`{}` {verb}", planned.name))
        })
    };
    let has = |does: fn(&StageKind) -> bool| plan.stages.iter().any(|planned| planned.stage.kind().is_some_and(does));
    let delivers = |kind: &StageKind| kind.delivery().is_some();
    let proves = |kind: &StageKind| kind.proved().is_some();
    if !has(delivers) {
        let all = || Ok(Assurance::Complete);
        return left_out.first().map_or_else(all, |stage| Err(format!("`{stage}` was not selected")));
    }
    match missed(delivers).chain(missed(proves)).next() {
        Some(why) => Err(why),
        None if has(proves) => Ok(Assurance::Proven),
        None => Ok(Assurance::Delivered),
    }
}

/// What the audit log says of the past of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// A session of this run began, this one included.
    Began,
    /// A session ended.
    Ended {
        /// Whether it is one of this run.
        is_own: bool,
        /// How.
        outcome: Outcome,
        /// Whether it counts as a success.
        counts: bool,
    },
}

/// What a session that counts as a success ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// A failure: one with messages, or the death of an earlier session of its run, which nobody heard of.
    pub failure: bool,
    /// A warning, for who asks for warnings. For the others it was a success.
    pub warning: bool,
    /// A cancelled run, for who asks for that.
    pub cancelled: bool,
}

/// What a session that counts as a success ends. `past` is newest first and begins with the start of this session.
pub fn recovers(past: impl IntoIterator<Item = Past>) -> Recovery {
    let (mut recovery, mut has_ended) = (Recovery::default(), true);
    for one in past {
        match one {
            Past::Began if has_ended => has_ended = false,
            // It began before the one that was seen last, and has no end.
            Past::Began | Past::Ended { counts: false, outcome: Outcome::Failure | Outcome::Blocked, .. } => {
                recovery.failure = true;
                break;
            }
            Past::Ended { is_own, outcome, counts } => {
                recovery.warning |= outcome == Outcome::Warning;
                recovery.cancelled |= outcome == Outcome::Cancelled;
                if counts {
                    break;
                }
                has_ended |= is_own;
            }
        }
    }
    recovery
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::graph::Selection;

    #[test]
    fn a_success_recovers_from_what_came_after_the_last_one() {
        use Outcome::{Blocked, Cancelled, Failure, Skipped, Success};
        let ended = |is_own, outcome, counts| Past::Ended { is_own, outcome, counts };
        let (own, other) = (|outcome| ended(true, outcome, false), |outcome| ended(false, outcome, false));
        let good = ended(false, Success, true);
        for (past, recovered) in [
            (vec![Past::Began], false),
            (vec![Past::Began, good, other(Failure)], false),
            (vec![Past::Began, other(Failure), good], true),
            (vec![Past::Began, other(Blocked)], true),
            // What does not count neither fails nor mends.
            (vec![Past::Began, other(Success), other(Cancelled), other(Skipped), other(Failure)], true),
            (vec![Past::Began, other(Success), good], false),
            // An earlier session of this run died, at once before this one or before another.
            (vec![Past::Began, Past::Began, good], true),
            (vec![Past::Began, own(Success), Past::Began, Past::Began, good], true),
            (vec![Past::Began, own(Cancelled), Past::Began, good], false),
            (vec![Past::Began, good, Past::Began, other(Failure)], false),
        ] {
            assert_eq!(recovers(past.iter().copied()).failure, recovered, "{past:?}");
        }
    }

    #[test]
    fn warnings_and_cancelled_runs_are_ended_for_who_heard_of_them() {
        use Outcome::{Cancelled, Failure, Success, Warning};
        let ended = |outcome, counts| Past::Ended { is_own: false, outcome, counts };
        let of = |past: &[Past]| {
            let Recovery { failure, warning, cancelled } = recovers([&[Past::Began], past].concat());
            (failure, warning, cancelled)
        };
        let (good, failed) = (ended(Success, true), ended(Failure, false));
        assert_eq!(of(&[ended(Warning, true), failed]), (false, true, false));
        assert_eq!(of(&[ended(Warning, false), failed]), (true, true, false));
        assert_eq!(of(&[ended(Cancelled, false), good]), (false, false, true));
        assert_eq!(of(&[ended(Cancelled, false), ended(Warning, true), failed]), (false, true, true));
        assert_eq!(of(&[good, ended(Warning, true)]), (false, false, false));
    }

    #[test]
    fn only_what_delivers_and_proves_counts() {
        use Outcome::{Skipped, Success, Warning};
        let upload = json!({ "uses": "upload", "with": { "artifact": "x", "store": "s", "key": "k" } });
        let verify = json!({ "uses": "verify", "with": { "object": "x" } });
        let other = json!({ "run": ["x"] });
        let judge = |stages: &[&serde_json::Value], outcomes: &[Outcome], failed: &[&str], left_out: &[&str]| {
            let stages: serde_json::Map<_, _> = ["a", "b", "c"]
                .iter()
                .zip(stages)
                .map(|(name, stage)| ((*name).to_owned(), (*stage).clone()))
                .collect();
            let file = json!({ "version": 1, "name": "t", "stages": stages });
            let plan = Plan::select(&serde_json::from_value(file).unwrap(), &Selection::All);
            let left_out: Vec<String> = left_out.iter().map(|name| (*name).to_owned()).collect();
            assurance(&plan, outcomes, &|stage| failed.contains(&stage).then_some("failed"), &left_out)
        };
        let not = |why: &str| Err(why.to_owned());
        let all = [&upload, &verify, &other];
        assert_eq!(judge(&all, &[Success, Warning, Success], &[], &[]), Ok(Assurance::Proven));
        // What does neither deliver nor prove may be skipped or left out.
        assert_eq!(judge(&all, &[Success, Success, Skipped], &[], &["c"]), Ok(Assurance::Proven));
        assert_eq!(judge(&all, &[Skipped, Success, Success], &[], &["a"]), not("`a` was skipped"));
        assert_eq!(judge(&all, &[Success, Skipped, Success], &[], &[]), not("`b` was skipped"));
        assert_eq!(judge(&all, &[Warning, Success, Success], &["a"], &[]), not("`a` failed"));
        assert_eq!(judge(&all, &[Success, Warning, Success], &["b"], &[]), not("`b` failed"));
        assert_eq!(judge(&[&upload, &upload], &[Success, Skipped], &[], &[]), not("`b` was skipped"));
        assert_eq!(judge(&[&upload, &other], &[Success, Success], &[], &[]), Ok(Assurance::Delivered));
        assert_eq!(judge(&[&other, &verify], &[Success, Skipped], &[], &[]), Ok(Assurance::Complete));
        assert_eq!(judge(&[&other, &other], &[Success, Skipped], &[], &["b"]), not("`b` was not selected"));
    }
}

//! Whether and when a unit is tried again.

use std::time::Duration;

use super::outcome::{Ended, OwnEnd};
use crate::diagnostic::Diagnostic;
use crate::pipeline::Retry;

/// A stage is not retried for longer than this in all, whatever its file says.
pub const LONGEST_RETRYING: Duration = Duration::from_mins(30);

/// What follows a failed attempt that may succeed a little later.
#[derive(Debug)]
pub struct NextAttempt<'a> {
    /// How long to wait for it.
    pub delay: Duration,
    /// The stage that failed.
    pub stage: usize,
    /// Why.
    pub error: &'a Diagnostic,
}

/// Whether a unit is tried again after an attempt, counted from 1. Only where every stage that failed by itself may succeed
/// later, and attempts and waits together stay below [`LONGEST_RETRYING`]. `spent` is the time since the first attempt
/// began; `random` is from 0 to 1.
pub fn next<'a>(
    retry: &Retry,
    attempt: u32,
    spent: Duration,
    ended: &'a [Ended],
    random: f64,
) -> Option<NextAttempt<'a>> {
    let failed = |one: &'a Ended| match &one.end {
        OwnEnd::Failed(error) => Some((one.stage, error)),
        _ => None,
    };
    let mut errors = ended.iter().filter_map(failed);
    let (stage, error) = errors.next()?;
    let delay = delay(retry, attempt, random);
    let is_due = attempt < retry.attempts
        && error.transient
        && errors.all(|(_, error)| error.transient)
        && spent + delay <= LONGEST_RETRYING;
    is_due.then_some(NextAttempt { delay, stage, error })
}

/// How long to wait after a failed attempt, counted from 1. `random` from 0 to 1 spreads the waits of many machines over
/// the upper half of the time.
fn delay(retry: &Retry, attempt: u32, random: f64) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = retry.delay.get().as_secs_f64() * retry.factor.powi(exponent);
    let longest = retry.max_delay.get().as_secs_f64();
    let seconds = if seconds.is_finite() { seconds.min(longest) } else { longest };
    Duration::from_secs_f64(seconds * (0.5 + random.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit() {
        let retry = Retry {
            attempts: 9,
            delay: "5s".parse().unwrap(),
            factor: 2.0,
            max_delay: "30s".parse().unwrap(),
            exit_codes: Vec::new(),
        };
        let seconds: Vec<u64> = [1, 2, 3, 4, 1_000].map(|n| delay(&retry, n, 1.0).as_secs()).to_vec();
        assert_eq!(seconds, [5, 10, 20, 30, 30]);
        assert_eq!(delay(&retry, 1, 0.0), Duration::from_millis(2_500));
        let mut random = fastrand::Rng::with_seed(1);
        for attempt in 1..1_000 {
            let (least, most) = (delay(&retry, attempt, 0.0), delay(&retry, attempt, 1.0));
            let one = delay(&retry, attempt, random.f64());
            assert!(least * 2 == most && (least..=most).contains(&one), "attempt {attempt}: {one:?}");
        }
    }
}

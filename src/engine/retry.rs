use std::time::Duration;

use crate::pipeline::Retry;

/// A stage is not retried for longer than this in all, whatever its file says.
pub const LONGEST_RETRYING: Duration = Duration::from_mins(30);

/// How long to wait after a failed attempt, counted from 1. `random` from 0 to 1 spreads the waits of many machines over
/// the upper half of the time.
pub fn delay(retry: &Retry, attempt: u32, random: f64) -> Duration {
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

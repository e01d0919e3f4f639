use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The delay after each attempt; three and a half days in all.
const DELAYS: [u64; 9] = [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// The longest delay that a receiver can ask for.
const LONGEST: Duration = Duration::from_secs(24 * HOUR);

/// The delay before the next attempt; `None` after the last one. The delay that the receiver asked for applies if it is
/// longer. `jitter`, from 0 to 1, adds up to a tenth, so that many hosts do not come back at once.
pub fn backoff(attempts: u32, asked: Option<Duration>, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempts.saturating_sub(1)).ok()?;
    let delay = Duration::from_secs(*DELAYS.get(index)?);
    let asked = asked.unwrap_or_default().min(LONGEST);
    Some(delay.max(asked).mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let seconds = |attempts, asked| backoff(attempts, asked, 0.0).map(|delay| delay.as_secs());
        let all: Vec<_> = (1..=10).map(|attempts| seconds(attempts, None)).collect();
        let hours = [2, 5, 10, 14, 20, 24].map(|hours| Some(hours * HOUR));
        assert_eq!(all[..3], [Some(5), Some(300), Some(1_800)]);
        assert_eq!(all[3..9], hours);
        assert_eq!(all[9], None);
        assert_eq!(seconds(1, Some(Duration::from_secs(90))), Some(90));
        assert_eq!(seconds(2, Some(Duration::from_secs(90))), Some(300));
        // A receiver cannot silence a channel for years.
        assert_eq!(seconds(1, Some(Duration::MAX)), Some(24 * HOUR));
        assert_eq!(backoff(2, None, 1.0), Some(Duration::from_secs(330)));
    }
}

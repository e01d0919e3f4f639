//! Whether and when to try again: pure functions.

use std::time::Duration;

use crate::channels::Error;

/// The limit of all attempts together: sending a message must not hold up the end of a run.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Attempts in all.
const ATTEMPTS: u32 = 3;
/// The first pause. Each further one is four times as long.
const PAUSE: Duration = Duration::from_millis(500);
/// With less time left than this, no attempt is made.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);
/// The cap for `Retry-After`.
const LONGEST_AFTER: Duration = Duration::from_hours(24);

/// The pause before the next attempt; `None` if there is none. `attempt` counts from 1.
pub(super) fn pause(error: &Error, attempt: u32, left: Duration) -> Option<Duration> {
    if !error.is_transient() || attempt >= ATTEMPTS {
        return None;
    }
    let pause = error.retry_after().unwrap_or(PAUSE * 4_u32.pow(attempt - 1));
    (pause + SHORTEST_ATTEMPT <= left).then_some(pause)
}

/// Parses `Retry-After`: seconds or a date (RFC 9110, 10.2.3). `now` is in seconds since 1970.
pub(super) fn retry_after(value: &str, now: i64) -> Option<Duration> {
    let value = value.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().unwrap_or(u64::MAX)
    } else {
        let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_second();
        u64::try_from(date.saturating_sub(now)).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds).min(LONGEST_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, after: Option<u64>) -> Error {
        let after = after.map(Duration::from_secs);
        Error::Answered { place: String::new(), status, answer: String::new(), after }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, again) in [
            (301, false),
            (302, false),
            (307, false),
            (400, false),
            (401, false),
            (404, false),
            (408, true),
            (410, false),
            (413, false),
            (425, true),
            (429, true),
            (500, true),
            (501, true),
            (502, true),
            (503, true),
            (504, true),
        ] {
            assert_eq!(pause(&answered(status, None), 1, LIMIT).is_some(), again, "{status}");
        }
        let error = answered(500, None);
        assert_eq!(pause(&error, 1, LIMIT), Some(PAUSE));
        assert_eq!(pause(&error, 2, LIMIT), Some(PAUSE * 4));
        assert_eq!(pause(&error, 3, LIMIT), None);
        assert_eq!(pause(&error, 1, Duration::from_millis(1_400)), None);
    }

    #[test]
    fn a_receiver_that_wants_peace_gets_it() {
        assert_eq!(pause(&answered(429, Some(7)), 1, LIMIT), Some(Duration::from_secs(7)));
        assert_eq!(pause(&answered(429, Some(3_600)), 1, LIMIT), None);
        assert_eq!(answered(429, Some(3_600)).retry_after(), Some(Duration::from_hours(1)));
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = 784_111_777;
        let seconds = |value: &str| retry_after(value, now).map(|after| after.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "the past");
        assert_eq!(seconds("99999999999999999999999"), Some(86_400));
        for other in ["", "soon", "-1", "1.5", "2026-01-01"] {
            assert_eq!(seconds(other), None, "{other}");
        }
    }
}

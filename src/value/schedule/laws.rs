//! What holds for every schedule, judged by a second way to count.

use jiff::{Timestamp, ToSpan, Zoned};
use proptest::prelude::*;

use super::Schedule;

/// Values of a field, and how cron spells them.
fn field(low: u32, high: u32) -> impl Strategy<Value = (String, Vec<u32>)> {
    let all = Just(("*".to_owned(), (low..=high).collect::<Vec<_>>()));
    let some = proptest::collection::btree_set(low..=high, 1..4)
        .prop_map(|set| (set.iter().map(u32::to_string).collect::<Vec<_>>().join(","), set.into_iter().collect()));
    let range = (low..=high, low..=high, 1..6_u32).prop_map(|(a, b, step)| {
        let (a, b) = (a.min(b), a.max(b));
        (format!("{a}-{b}/{step}"), (a..=b).step_by(step as usize).collect())
    });
    prop_oneof![all, some, range]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Minute by minute for ten days: what `next` skips does not match, and what it names does.
    #[test]
    fn next_is_the_first_match_after_now(
        (minute, minutes) in field(0, 59),
        (hour, hours) in field(0, 23),
        (day, days) in field(1, 28),
        (month, months) in field(1, 12),
        (weekday, weekdays) in field(0, 6),
        second in 0_i64..4_000_000_000,
    ) {
        let text = format!("{minute} {hour} {day} {month} {weekday}");
        let schedule = text.parse::<Schedule>().unwrap();
        let either = day != "*" && weekday != "*";
        let now = Timestamp::from_second(second).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        let next = schedule.next(&now).unwrap();
        prop_assert!(next > now, "{text}: {next} is not after {now}");
        let matches = |at: &Zoned| {
            let has = |values: &[u32], value: i8| values.iter().any(|known| *known == u32::from(value.unsigned_abs()));
            let (by_day, by_weekday) = (day == "*" || has(&days, at.day()), has(&weekdays, at.weekday().to_sunday_zero_offset()));
            let day = if either { by_day || by_weekday } else { by_day && by_weekday };
            at.second() == 0 && has(&minutes, at.minute()) && has(&hours, at.hour()) && has(&months, at.month()) && day
        };
        prop_assert!(matches(&next), "{text}: {next} does not match");
        let mut minute = now.checked_add(1.minute()).unwrap().with().second(0).build().unwrap();
        for _ in 0..14_400 {
            if minute >= next {
                break;
            }
            prop_assert!(!matches(&minute), "{text}: {minute} was skipped from {now}");
            minute = minute.checked_add(1.minute()).unwrap();
        }
        let again = schedule.normal().parse::<Schedule>().unwrap();
        prop_assert_eq!(again.normal(), schedule.normal());
        prop_assert_eq!(again, schedule);
    }

    #[test]
    fn no_text_is_too_odd(text in "[-*/,.:~@ 0-9A-Za-zü#?]{0,24}") {
        if let Err(error) = text.parse::<Schedule>() {
            prop_assert!(text.get(error.offset..error.offset + error.length).is_some(), "{error:?}");
        }
    }
}

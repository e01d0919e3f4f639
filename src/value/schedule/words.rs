//! The meaning of a schedule in words.

use super::rule::{Days, Rule};
use super::set::{Run, Set};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// How many times of a day are listed one by one.
const MOST_TIMES: u32 = 6;

pub(super) fn words(rule: &Rule) -> String {
    let told = match (times(rule), days(rule)) {
        (Times::At(times), None) => format!("every day {times}"),
        (Times::At(times), Some(days)) => format!("{days} {times}"),
        (Times::Every(times), None) => times,
        (Times::Every(times), Some(days)) => format!("{times}, {days}"),
    };
    match rule.zone.as_ref().and_then(jiff::tz::TimeZone::iana_name) {
        None => told,
        Some("UTC") => format!("{told} UTC"),
        Some(zone) => format!("{told}, {zone} time"),
    }
}

/// Times of day, or steps through it.
enum Times {
    At(String),
    Every(String),
}

fn times(rule: &Rule) -> Times {
    let (seconds, minutes, hours) = (rule.seconds, rule.minutes, rule.hours);
    let count = seconds.len() * minutes.len() * hours.len();
    if count <= MOST_TIMES {
        let times = hours.iter().flat_map(|hour| {
            let times = minutes.iter().flat_map(move |minute| {
                seconds.iter().map(move |second| clock(hour, minute, Some(second).filter(|_| seconds != Set::one(0))))
            });
            times.collect::<Vec<_>>()
        });
        return Times::At(format!("at {}", listed(&times.collect::<Vec<_>>(), "and")));
    }
    if seconds == Set::one(0) {
        return Times::Every(by_minutes(minutes, hours));
    }
    let seconds = by_parts(seconds, "second");
    let every_minute = minutes == Set::range(0, 59);
    if every_minute && rule.every_hour() {
        let of = if seconds.starts_with("every") { "" } else { " of every minute" };
        return Times::Every(format!("{seconds}{of}"));
    }
    let minutes = by_minutes(minutes, hours);
    Times::Every(format!("{seconds}, {minutes}"))
}

/// The minutes and hours of a schedule with many times a day, in words.
fn by_minutes(minutes: Set, hours: Set) -> String {
    let every_hour = hours == Set::range(0, 23);
    if let Some(minute) = minutes.only() {
        let past = if minute == 0 { String::new() } else { format!(" at minute {minute}") };
        return match hours.as_run() {
            _ if every_hour => format!("every hour{past}"),
            Some(Run { first: 0, last, step }) if 24 % step == 0 && last + step == 24 => {
                format!("every {step} hours{past}")
            }
            Some(Run { first, last, step }) => {
                let every = if step == 1 { "every hour".to_owned() } else { format!("every {step} hours") };
                format!("{every} from {} to {}", clock(first, minute, None), clock(last, minute, None))
            }
            None => format!("at minute {minute} of the hours {}", numbers(hours)),
        };
    }
    let told = by_parts(minutes, "minute");
    let is_steady = told.starts_with("every") && !told.contains("from");
    match hours.stretches()[..] {
        _ if every_hour && is_steady => told,
        _ if every_hour => format!("{told} of every hour"),
        [(first, last)] if is_steady => {
            format!("{told} from {} to {}", clock(first, minutes.first(), None), clock(last, minutes.last(), None))
        }
        [(first, last)] if first == last => format!("{told} of the hour {first}"),
        _ => format!("{told} of the hours {}", numbers(hours)),
    }
}

/// Minutes of an hour, or seconds of a minute.
fn by_parts(set: Set, unit: &str) -> String {
    match set.as_run() {
        Some(Run { first: 0, last: 59, step: 1 }) => format!("every {unit}"),
        Some(Run { first: 0, last, step }) if last + step == 60 => format!("every {step} {unit}s"),
        Some(Run { first, last, step: 1 }) => format!("every {unit} from {unit} {first} to {last}"),
        Some(Run { first, last, step }) if set.len() > 4 => {
            format!("every {step} {unit}s from {unit} {first} to {last}")
        }
        _ if set.len() == 1 => format!("at {unit} {}", numbers(set)),
        _ => format!("at {unit}s {}", numbers(set)),
    }
}

/// The days in words. `None` if every day matches.
fn days(rule: &Rule) -> Option<String> {
    let named = listed(&stretches(rule.months, &|month| MONTHS[month as usize - 1].to_owned()), "and");
    let months = if rule.every_month() { "every month".to_owned() } else { named.clone() };
    let month = if rule.every_month() { "the month".to_owned() } else { named.clone() };
    let in_months = match rule.months.stretches()[..] {
        _ if rule.every_month() => String::new(),
        [(first, last)] if last - first > 1 => format!(" from {named}"),
        _ => format!(" in {named}"),
    };
    let weekdays = weekdays(rule.weekdays);
    let told = match rule.days {
        Days::Last if rule.every_weekday() => format!("on the last day of {months}"),
        Days::Last => format!("{weekdays} that {} the last day of {month}", is_one(rule.weekdays)),
        Days::LastWeek => format!("on the last {} of {months}", names(rule.weekdays, "and")),
        Days::Each(_) if rule.every_day() && rule.every_weekday() => {
            return (!rule.every_month()).then(|| format!("every day{in_months}"));
        }
        Days::Each(_) if rule.every_day() => format!("{weekdays}{in_months}"),
        Days::Each(days) if rule.every_weekday() => format!("on {} of {months}", ordinals(days)),
        Days::Each(days) if rule.either => format!("on {} of {months} and {weekdays}{in_months}", ordinals(days)),
        Days::Each(days) => match (0..4).find(|week| days == Set::range(week * 7 + 1, week * 7 + 7)) {
            Some(week) => {
                let nth = ["first", "second", "third", "fourth"][week as usize];
                format!("on the {nth} {} of {months}", names(rule.weekdays, "and"))
            }
            None => {
                let days = listed(&stretches(days, &ordinal), "or");
                format!("{weekdays} that {} the {days} of {month}", is_one(rule.weekdays))
            }
        },
    };
    Some(told)
}

/// `the 1st and 15th`, `every 2nd day from the 1st to the 31st`.
fn ordinals(days: Set) -> String {
    match days.as_run() {
        Some(Run { first, last, step }) if step > 1 && days.len() > MOST_TIMES => {
            format!("every {} day from the {} to the {}", ordinal(step), ordinal(first), ordinal(last))
        }
        _ => format!("the {}", listed(&stretches(days, &ordinal), "and")),
    }
}

fn is_one(weekdays: Set) -> &'static str {
    if weekdays.stretches().iter().any(|(first, last)| last - first > 1) { "are" } else { "is" }
}

/// `every Monday and Friday`, `Monday to Friday`.
fn weekdays(set: Set) -> String {
    let told = names(set, "and");
    if told.contains(" to ") { told } else { format!("every {told}") }
}

/// The names of weekdays, Sunday last.
fn names(set: Set, conjunction: &str) -> String {
    let set = if set.contains(0) { set.with(7).filter(|day| day > 0) } else { set };
    listed(&stretches(set, &|day| WEEKDAYS[day as usize % 7].to_owned()), conjunction)
}

/// The names in order. Three or more consecutive ones become `A to C`.
fn stretches(set: Set, name: &dyn Fn(u32) -> String) -> Vec<String> {
    let told = set.stretches().into_iter().flat_map(|(first, last)| match last - first {
        0 | 1 => (first..=last).map(name).collect(),
        _ => vec![format!("{} to {}", name(first), name(last))],
    });
    told.collect()
}

fn numbers(set: Set) -> String {
    listed(&stretches(set, &|number| number.to_string()), "and")
}

fn listed(items: &[String], conjunction: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}

fn ordinal(day: u32) -> String {
    let ending = match (day / 10, day % 10) {
        (1, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{day}{ending}")
}

fn clock(hour: u32, minute: u32, second: Option<u32>) -> String {
    let second = second.map(|second| format!(":{second:02}")).unwrap_or_default();
    format!("{hour:02}:{minute:02}{second}")
}

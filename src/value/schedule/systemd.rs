//! Calendar events of systemd.time(7).

use jiff::tz::TimeZone;

use super::error::{ScheduleError, ScheduleErrorKind};
use super::parse::{Field, Grammar, Part, WEEKDAY, list, shown};
use super::rule::{Days, Rule};
use super::set::Set;

const CALENDAR: Grammar = Grammar { range: "..", star_steps: false };

const SECOND: Field = Field { name: "second", low: 0, high: 59, names: &[], help: "such as `00` or `0/10`" };
const MINUTE: Field = Field { name: "minute", low: 0, high: 59, names: &[], help: "such as `30` or `0/15`" };
const HOUR: Field = Field { name: "hour", low: 0, high: 23, names: &[], help: "such as `02`, `9..17` or `0/6`" };
const DAY: Field = Field { name: "day of the month", low: 1, high: 31, names: &[], help: "such as `01` or `1..7`" };
const MONTH: Field = Field { name: "month", low: 1, high: 12, names: &[], help: "a number, such as `01` or `1/3`" };
const DAYS: Field = Field { name: WEEKDAY, low: 1, high: 0, names: WEEKDAYS, help: "such as `Mon..Fri` or `Sat,Sun`" };

/// Monday is the first: a range may end with Sunday and cannot begin with it.
const WEEKDAYS: &[(&str, u32)] = &[
    ("mon", 1),
    ("monday", 1),
    ("tue", 2),
    ("tuesday", 2),
    ("wed", 3),
    ("wednesday", 3),
    ("thu", 4),
    ("thursday", 4),
    ("fri", 5),
    ("friday", 5),
    ("sat", 6),
    ("saturday", 6),
    ("sun", 7),
    ("sunday", 7),
];

const WORDS: &[(&str, &str)] = &[
    ("minutely", "*:*"),
    ("hourly", "*:0"),
    ("daily", "0:0"),
    ("weekly", "Mon 0:0"),
    ("monthly", "*-*-1"),
    ("quarterly", "*-1/3-1"),
    ("semiannually", "*-1/6-1"),
    ("yearly", "*-1-1"),
    ("annually", "*-1-1"),
];

const FORMS: &str = "cron's `0 2 * * *`, or systemd's `daily`, `Mon..Fri 02:00`, `*-*-01 04:00`, `*:0/15`";

const ORDER: &str = "the order is weekdays, date, time, time zone";

/// Reads a calendar event.
pub(super) fn event(words: &[Part<'_>]) -> Result<Rule, ScheduleError> {
    let mut rest = words;
    let known = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(rest[0].text));
    let mut rule = match known {
        Some((_, meaning)) => {
            rest = &rest[1..];
            event(&Part::words(meaning))?
        }
        None => dates_and_times(&mut rest)?,
    };
    if let Some((zone, more)) = rest.split_first() {
        if !zone.text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let message = format!("`{}` stands where a time zone may stand, or nothing", shown(zone.text));
            return Err(zone.wrong("time zone", message, ORDER));
        }
        if let Some(more) = more.first() {
            let message = format!("`{}` stands behind the time zone", shown(more.text));
            return Err(more.wrong("time zone", message, ORDER));
        }
        if weekdays_of(*zone).is_ok() {
            return Err(zone.wrong(WEEKDAY, format!("the weekday `{}` stands too late", zone.text), ORDER));
        }
        rule.zone = Some(time_zone(*zone)?);
    }
    Ok(rule)
}

fn dates_and_times(rest: &mut &[Part<'_>]) -> Result<Rule, ScheduleError> {
    let mut rule = Rule { minutes: Set::one(0), hours: Set::one(0), ..Rule::default() };
    let whole = rest[0];
    let mut next = |wanted: fn(&str) -> bool| {
        let (first, others) = rest.split_first()?;
        wanted(first.text).then(|| {
            *rest = others;
            *first
        })
    };
    let weekdays = next(|text| text.starts_with(|c: char| c.is_ascii_alphabetic()));
    let date = next(|text| text.starts_with(|c: char| c.is_ascii_digit() || c == '*') && !text.contains(':'));
    let time = next(|text| text.contains(':'));
    if let Some(part) = weekdays {
        let lone = date.is_none() && time.is_none();
        rule.weekdays = weekdays_of(part).map_err(|error| if lone { unknown(part) } else { error })?;
    } else if date.is_none() && time.is_none() {
        return Err(unknown(whole));
    }
    if let Some(part) = time {
        read_time(part, &mut rule)?;
    }
    if let Some(part) = date {
        read_date(part, &mut rule)?;
    }
    let dates = date.unwrap_or(whole);
    rule.settled().ok_or_else(|| Part { text: "", ..dates }.never(dates.end()))
}

fn unknown(part: Part<'_>) -> ScheduleError {
    part.wrong("schedule", format!("`{}` is no schedule", shown(part.text)), FORMS)
}

fn weekdays_of(part: Part<'_>) -> Result<Set, ScheduleError> {
    let trimmed = Part { text: part.text.strip_suffix(',').unwrap_or(part.text), ..part };
    // `Mon-Fri` is an older form that systemd still reads.
    let grammar = Grammar { range: if part.text.contains("..") { ".." } else { "-" }, star_steps: true };
    list(trimmed, &DAYS, &grammar)
}

fn read_time(part: Part<'_>, rule: &mut Rule) -> Result<(), ScheduleError> {
    let parts = part.split(":");
    if parts.len() > 3 {
        let message = format!("`{}` is no time of day", shown(part.text));
        return Err(part.wrong("time", message, "hours and minutes, and seconds where they matter: `02:00`, `*:0/15`"));
    }
    rule.hours = list(parts[0], &HOUR, &CALENDAR)?;
    rule.minutes = list(parts[1], &MINUTE, &CALENDAR)?;
    if let Some(seconds) = parts.get(2) {
        rule.seconds = list(*seconds, &SECOND, &CALENDAR)?;
    }
    Ok(())
}

fn read_date(part: Part<'_>, rule: &mut Rule) -> Result<(), ScheduleError> {
    let no_date = || {
        let message = format!("`{}` is no date", shown(part.text));
        part.wrong("date", message, "year, month and day, such as `*-*-01`, `*-01,07-01` or `12-24`")
    };
    let (before, day) = match part.split_once("~") {
        Some((before, day)) => (before, Some(day)),
        None => (part, None),
    };
    let mut parts = before.split("-");
    let from_end = day.is_some();
    let day = day.or_else(|| parts.pop()).ok_or_else(no_date)?;
    let month = parts.pop().filter(|_| parts.len() < 2).ok_or_else(no_date)?;
    if let Some(year) = parts.pop().filter(|year| year.text != "*") {
        let message = format!("with the year `{}` the schedule would come to an end", shown(year.text));
        return Err(year.not_here("year", message, "write `*` for the year"));
    }
    rule.months = list(month, &MONTH, &CALENDAR)?;
    let days = list(day, &DAY, &CALENDAR)?;
    rule.days = match from_end {
        false => Days::Each(days),
        true if days == Set::one(1) => Days::Last,
        true if day.text.trim_start_matches('0') == "7/1" || days == Set::range(1, 7) => {
            if rule.weekdays == Rule::default().weekdays {
                let message = "the last seven days of a month cannot be told without weekdays".to_owned();
                return Err(day.not_here(DAY.name, message, LAST));
            }
            Days::LastWeek
        }
        true => {
            let message = format!("`~{}` counts from the end of the month", shown(day.text));
            return Err(day.not_here(DAY.name, message, LAST));
        }
    };
    Ok(())
}

const LAST: &str = "from the end there are `~01`, the last day, and weekdays in the last week: `Fri *-*~07/1`";

fn time_zone(part: Part<'_>) -> Result<TimeZone, ScheduleError> {
    if part.text.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(part.text).map_err(|_| {
        let message = format!("there is no time zone `{}` on this machine", shown(part.text));
        let help = "a name such as `Europe/Berlin` or `UTC`; the system's package `tzdata` has them";
        ScheduleError { kind: ScheduleErrorKind::UnknownZone, ..part.wrong("time zone", message, help) }
    })
}

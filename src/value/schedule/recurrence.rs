use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::error::ScheduleError;
use super::parse::Part;
use super::rule::Rule;
use super::{cron, systemd, words};

/// When something happens again and again, as cron (`0 2 * * *`) or systemd (`Mon..Fri 02:00`) spell it.
///
/// Two that mean the same are equal, whatever they were written in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    rule: Rule,
    cron: Cron,
}

/// The longest that is read. Nobody writes half of it.
const LONGEST: usize = 256;

impl Schedule {
    /// The one spelling of all equal schedules: cron's, and systemd's where cron has none.
    pub fn normal(&self) -> String {
        self.rule.as_cron().unwrap_or_else(|| self.rule.as_calendar())
    }

    /// What it says, in words: `every day at 02:00`.
    pub fn words(&self) -> String {
        words::words(&self.rule)
    }

    /// The first time after `now`, in the time zone of `now`. A schedule without a time zone of its own goes by that one.
    ///
    /// A schedule that names hours comes once for each of them: where the clock is put forward over it, in the moment
    /// after; where the clock shows it twice, the first time. One for every hour goes by the hours that pass. Nothing
    /// comes after the last year of the calendar.
    pub fn next(&self, now: &Zoned) -> Option<Zoned> {
        let zone = self.rule.zone.as_ref().unwrap_or(now.time_zone());
        let there = now.with_time_zone(zone.clone());
        let found = if self.rule.every_hour() {
            self.cron.find_next_occurrence(&there, false).ok()?
        } else {
            // On a clock that is never changed; the moment it stands for is looked up for each time.
            let mut clock = there.datetime().to_zoned(TimeZone::UTC).ok()?;
            loop {
                clock = self.cron.find_next_occurrence(&clock, false).ok()?;
                let moment = moment(zone, clock.datetime())?;
                if moment > *now {
                    break moment;
                }
            }
        };
        Some(found.with_time_zone(now.time_zone().clone()))
    }
}

/// When the clock of a zone first shows a time, or first could have.
fn moment(zone: &TimeZone, clock: DateTime) -> Option<Zoned> {
    let shown = zone.to_ambiguous_zoned(clock);
    if matches!(shown.offset(), AmbiguousOffset::Gap { .. }) {
        let before = shown.earlier().ok()?.timestamp();
        let change = zone.following(before).next()?;
        return Some(change.timestamp().to_zoned(zone.clone()));
    }
    shown.earlier().ok()
}

/// Whether these were meant as the fields of cron: only those are several, or have no `-`, without letters and colons.
fn is_cron(parts: &[Part<'_>]) -> bool {
    let numbers = |part: &&Part<'_>| !part.text.contains(|c: char| c.is_ascii_alphabetic());
    let mut fields = parts.iter().filter(numbers);
    let has_mark = parts.iter().any(|part| part.text.contains([':', '~']));
    !has_mark && (parts.len() > 4 || fields.clone().count() > 1 || fields.any(|part| !part.text.contains('-')))
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = Part::words(text);
        let whole = Part { text, offset: 0 };
        let Some(first) = parts.first() else {
            let help = "such as `0 2 * * *` or `Mon..Fri 02:00`";
            return Err(whole.wrong("schedule", "a schedule must not be empty".to_owned(), help));
        };
        if text.len() > LONGEST {
            let message = format!("this is longer than the {LONGEST} bytes that a schedule may have");
            return Err(whole.wrong("schedule", message, "write it with ranges and steps"));
        }
        let rule = match parts.as_slice() {
            _ if first.text.starts_with('@') => cron::nickname(&parts, *first)?,
            parts if is_cron(parts) => cron::fields_of(parts)?,
            parts => systemd::event(parts)?,
        };
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let cron = parser.parse(&rule.as_croner()).expect("a pattern of settled fields is one that croner reads");
        Ok(Self { rule, cron })
    }
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.normal()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normal())
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST,
            "x-tl-type": "schedule",
            "description": "When, as cron or systemd spell it: `0 2 * * *`, `@daily`, `Mon..Fri 02:00`, `*-*-01 04:00 UTC`.",
        })
    }
}

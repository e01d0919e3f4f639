//! A schedule and its next time.

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

/// A schedule, written as in cron (`0 2 * * *`) or in systemd (`Mon..Fri 02:00`). Two schedules with the same meaning are
/// equal, whichever form they were written in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    rule: Rule,
    cron: Cron,
}

/// The longest text of a schedule, in bytes. Nobody writes half of it.
const LONGEST: usize = 256;

impl Schedule {
    /// The normal form of all equal schedules: cron's, or systemd's if cron cannot express it.
    pub fn normal(&self) -> String {
        self.rule.as_cron().unwrap_or_else(|| self.rule.as_calendar())
    }

    /// Its meaning in words: `every day at 02:00`.
    pub fn words(&self) -> String {
        words::words(&self.rule)
    }

    /// The first time after `now`, in the time zone of `now`. A schedule without a time zone uses that of `now`.
    ///
    /// A schedule that names hours happens once for each of them. If the clock skips the time, it happens at the moment
    /// after the change. If the clock shows the time twice, it happens the first time. A schedule for every hour follows
    /// the hours that pass. `None` after the last year of the calendar.
    pub fn next(&self, now: &Zoned) -> Option<Zoned> {
        let zone = self.rule.zone.as_ref().unwrap_or(now.time_zone());
        let there = now.with_time_zone(zone.clone());
        let found = if self.rule.every_hour() {
            self.cron.find_next_occurrence(&there, false).ok()?
        } else {
            // Search on a clock that never changes, then look up the moment of each time in the zone.
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

/// The moment when the clock of a zone first shows a time. If the clock skips the time, the moment of the change.
fn moment(zone: &TimeZone, clock: DateTime) -> Option<Zoned> {
    let shown = zone.to_ambiguous_zoned(clock);
    if matches!(shown.offset(), AmbiguousOffset::Gap { .. }) {
        let before = shown.earlier().ok()?.timestamp();
        let change = zone.following(before).next()?;
        return Some(change.timestamp().to_zoned(zone.clone()));
    }
    shown.earlier().ok()
}

/// Whether the parts are meant as the fields of cron. Only cron has several parts without letters, or one without `-`, and
/// cron has no `:` or `~`.
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

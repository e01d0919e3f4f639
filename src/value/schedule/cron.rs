//! The five fields of crontab(5), and its nicknames.

use super::error::ScheduleError;
use super::parse::{Field, Grammar, Part, WEEKDAY, list, shown};
use super::rule::{Days, Rule};

const CRON: Grammar = Grammar { range: "-", star_steps: true };

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[], help: "such as `30`, `*/15` or `0,30`" },
    Field { name: "hour", low: 0, high: 23, names: &[], help: "such as `2`, `*/6` or `9-17`" },
    Field { name: "day of the month", low: 1, high: 31, names: &[], help: "such as `1`, `1,15` or `*`" },
    Field { name: "month", low: 1, high: 12, names: MONTHS, help: "such as `1`, `JAN-MAR` or `*`" },
    Field { name: WEEKDAY, low: 0, high: 7, names: WEEKDAYS, help: "such as `1-5`, `SAT` or `*`; 0 and 7 are Sunday" },
];

const MONTHS: &[(&str, u32)] = &[
    ("jan", 1),
    ("feb", 2),
    ("mar", 3),
    ("apr", 4),
    ("may", 5),
    ("jun", 6),
    ("jul", 7),
    ("aug", 8),
    ("sep", 9),
    ("oct", 10),
    ("nov", 11),
    ("dec", 12),
];

const WEEKDAYS: &[(&str, u32)] = &[("sun", 0), ("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6)];

const NICKNAMES: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

const KNOWN: &str = "there are `@hourly @daily @weekly @monthly @yearly`; for others write five fields";

/// Reads a nickname such as `@daily`.
pub(super) fn nickname(words: &[Part<'_>], name: Part<'_>) -> Result<Rule, ScheduleError> {
    if name.text.eq_ignore_ascii_case("@reboot") {
        let message = "`@reboot` is an event, not a time: nobody can tell when it comes next".to_owned();
        return Err(name.not_here("nickname", message, "let a service of the system start `tl run` when it boots"));
    }
    if name.text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("`{}` is a single moment", shown(name.text));
        return Err(name.not_here("nickname", message, "a schedule comes again and again"));
    }
    let known = NICKNAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.text));
    let Some((_, fields)) = known else {
        return Err(name.wrong("nickname", format!("`{}` is no nickname of a schedule", shown(name.text)), KNOWN));
    };
    if let Some(more) = words.get(1) {
        let message = format!("nothing can follow `{}`", name.text);
        return Err(more.wrong("nickname", message, "a time of day needs five fields, a time zone systemd's form"));
    }
    fields_of(&Part::words(fields))
}

/// Reads the five fields.
pub(super) fn fields_of(words: &[Part<'_>]) -> Result<Rule, ScheduleError> {
    let [minute, hour, day, month, weekday] = words else { return Err(wrong_count(words)) };
    let read = |part: &Part<'_>, index: usize| list(*part, &FIELDS[index], &CRON);
    let days = Part { text: "", offset: day.offset };
    let rule = Rule {
        minutes: read(minute, 0)?,
        hours: read(hour, 1)?,
        days: Days::Each(read(day, 2)?),
        months: read(month, 3)?,
        weekdays: read(weekday, 4)?,
        // crontab(5): a day matches by either field, unless one of them begins with a star.
        either: !day.text.starts_with('*') && !weekday.text.starts_with('*'),
        ..Rule::default()
    };
    rule.settled().ok_or_else(|| days.never(month.end()))
}

fn wrong_count(words: &[Part<'_>]) -> ScheduleError {
    let (first, last) = (words[0], words[words.len() - 1]);
    let whole = |message: String, help: &'static str| ScheduleError {
        length: last.end() - first.offset,
        ..first.wrong("fields", message, help)
    };
    let message = match words.len() {
        1 => "cron has five fields, and here is one".to_owned(),
        many => format!("cron has five fields, and here are {many}"),
    };
    if words.len() < 5 {
        return whole(message, "minute, hour, day of the month, month, weekday: `0 2 * * *` is every day at 02:00");
    }
    whole(message, "cron has no seconds, years or time zones; systemd's form has: `*:*:0/10`, `02:00 Europe/Berlin`")
}

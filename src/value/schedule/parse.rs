//! Reads lists, ranges and steps, which cron and systemd have in common.

use super::error::{ScheduleError, ScheduleErrorKind};
use super::set::Set;

/// A part of a text, and its offset in bytes.
#[derive(Clone, Copy)]
pub(super) struct Part<'t> {
    pub(super) text: &'t str,
    pub(super) offset: usize,
}

impl<'t> Part<'t> {
    /// The parts between white space.
    pub(super) fn words(text: &'t str) -> Vec<Self> {
        let start = text.as_ptr() as usize;
        text.split_ascii_whitespace().map(|word| Self { text: word, offset: word.as_ptr() as usize - start }).collect()
    }

    /// The parts between separators.
    pub(super) fn split(self, separator: &str) -> Vec<Self> {
        let start = self.text.as_ptr() as usize;
        let parts = self.text.split(separator);
        parts.map(|part| Self { text: part, offset: self.offset + (part.as_ptr() as usize - start) }).collect()
    }

    /// The parts on both sides of the first separator.
    pub(super) fn split_once(self, separator: &str) -> Option<(Self, Self)> {
        let at = self.text.find(separator)?;
        let behind = at + separator.len();
        Some((
            Self { text: &self.text[..at], offset: self.offset },
            Self { text: &self.text[behind..], offset: self.offset + behind },
        ))
    }

    pub(super) fn end(self) -> usize {
        self.offset + self.text.len()
    }

    pub(super) fn wrong(self, field: &'static str, message: String, help: &'static str) -> ScheduleError {
        ScheduleError {
            kind: ScheduleErrorKind::Malformed,
            message,
            help,
            field,
            offset: self.offset,
            length: self.text.len(),
        }
    }

    pub(super) fn not_here(self, field: &'static str, message: String, help: &'static str) -> ScheduleError {
        ScheduleError { kind: ScheduleErrorKind::Unsupported, ..self.wrong(field, message, help) }
    }
}

/// One field: its name and its values.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) low: u32,
    pub(super) high: u32,
    /// Names that stand for numbers.
    pub(super) names: &'static [(&'static str, u32)],
    /// How to write it.
    pub(super) help: &'static str,
}

impl Field {
    /// Whether the field takes numbers. systemd's weekdays have only names; their range is empty.
    fn has_numbers(&self) -> bool {
        self.low <= self.high
    }
}

/// The differences between the two forms of lists.
pub(super) struct Grammar {
    /// Between the ends of a range.
    pub(super) range: &'static str,
    /// Whether `*/5` steps through the whole field (cron). Else `0/5` does (systemd).
    pub(super) star_steps: bool,
}

/// Reads `1,3,7`, ranges and steps.
pub(super) fn list(part: Part<'_>, field: &Field, grammar: &Grammar) -> Result<Set, ScheduleError> {
    let mut set = Set::default();
    for item in part.split(",") {
        set = set.union(stretch(item, field, grammar)?);
    }
    Ok(set)
}

fn stretch(item: Part<'_>, field: &Field, grammar: &Grammar) -> Result<Set, ScheduleError> {
    let (base, step) = match item.split_once("/") {
        None => (item, None),
        Some((base, step)) => (base, Some(step_of(step, field)?)),
    };
    if base.text == "*" && field.has_numbers() {
        return match step {
            Some(_) if !grammar.star_steps => {
                let message = "steps begin at a number in systemd's form, not at `*`".to_owned();
                Err(item.wrong(field.name, message, "such as `0/15` for minutes or hours, `1/2` for days or months"))
            }
            step => Ok(Set::stepped(field.low, field.high, step.unwrap_or(1))),
        };
    }
    let Some((first, last)) = base.split_once(grammar.range) else {
        let first = number(base, field)?;
        return match step {
            None => Ok(Set::one(first)),
            Some(_) if grammar.star_steps => {
                let message = format!("steps in the {} need a range or `*` to go through", field.name);
                Err(item.wrong(field.name, message, "such as `*/15` or `10-40/5`"))
            }
            Some(step) => Ok(Set::stepped(first, field.high, step)),
        };
    };
    let (from, to) = (number(first, field)?, number(last, field)?);
    // Sunday has two numbers: `FRI-SUN` ends with the second.
    let to = if to == 0 && from > 0 && field.name == WEEKDAY { 7 } else { to };
    if from > to {
        let message = format!("the range `{}` ends before it begins", shown(base.text));
        return Err(base.wrong(field.name, message, "write two ranges with a comma between them"));
    }
    Ok(Set::stepped(from, to, step.unwrap_or(1)))
}

pub(super) const WEEKDAY: &str = "weekday";

fn step_of(part: Part<'_>, field: &Field) -> Result<u32, ScheduleError> {
    let step = digits(part.text).filter(|step| (1..=field.high).contains(step));
    step.ok_or_else(|| {
        let message = format!("`{}` is no step for the {}", shown(part.text), field.name);
        part.wrong(field.name, message, "a step is a whole number from 1 on that the field has room for")
    })
}

fn number(part: Part<'_>, field: &Field) -> Result<u32, ScheduleError> {
    if let Some((_, value)) = field.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(part.text)) {
        return Ok(*value);
    }
    let value = digits(part.text).filter(|_| field.has_numbers()).ok_or_else(|| no_number(part, field))?;
    if (field.low..=field.high).contains(&value) {
        return Ok(value);
    }
    let message = format!("`{}` is no {}: those are {} to {}", part.text, field.name, field.low, field.high);
    Err(part.wrong(field.name, message, field.help))
}

fn no_number(part: Part<'_>, field: &Field) -> ScheduleError {
    let is_quartz = |c: char| matches!(c, '?' | '#' | 'L' | 'W' | 'H');
    let rest = part.text.trim_matches(|c: char| c.is_ascii_digit() || is_quartz(c));
    let is_fraction = field.name == "second" && part.text.split('.').all(|number| digits(number).is_some());
    if part.text.is_empty() {
        part.wrong(field.name, format!("a number is missing in the {}", field.name), field.help)
    } else if is_fraction {
        let message = format!("`{}` is a part of a {}", part.text, field.name);
        part.not_here(field.name, message, "a schedule goes by whole seconds")
    } else if part.text.contains('#') || rest.is_empty() && part.text.contains(is_quartz) {
        let message = format!("`{}` is of other kinds of cron", part.text);
        let help = "systemd's form has such days: `*-*~01` is the last of a month, `Mon *-*-1..7` its first Monday";
        part.not_here(field.name, message, help)
    } else {
        part.wrong(field.name, format!("`{}` is no {}", shown(part.text), field.name), field.help)
    }
}

fn digits(text: &str) -> Option<u32> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A text for a message.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", cut.escape_debug())
}

//! The meaning of a schedule, and the forms in which it can be written.

use jiff::tz::TimeZone;

use super::error::{ScheduleError, ScheduleErrorKind};
use super::parse::Part;
use super::set::{Run, Set};

/// The meaning of a schedule, independent of its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) seconds: Set,
    pub(super) minutes: Set,
    pub(super) hours: Set,
    pub(super) days: Days,
    pub(super) months: Set,
    /// 0 is Sunday.
    pub(super) weekdays: Set,
    /// Whether a day matches by `days` or by `weekdays` (as in cron), instead of by both.
    pub(super) either: bool,
    pub(super) zone: Option<TimeZone>,
}

/// Days of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// By their numbers.
    Each(Set),
    /// The last day.
    Last,
    /// The last seven days.
    LastWeek,
}

/// The largest number of days of each month, January first.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl Default for Rule {
    /// Every minute.
    fn default() -> Self {
        Self {
            seconds: Set::one(0),
            minutes: Set::range(0, 59),
            hours: Set::range(0, 23),
            days: Days::Each(Set::range(1, 31)),
            months: Set::range(1, 12),
            weekdays: Set::range(0, 6),
            either: false,
            zone: None,
        }
    }
}

impl Part<'_> {
    /// The error for dates that are in no calendar.
    pub(super) fn never(self, end: usize) -> ScheduleError {
        let message = "this day is in no calendar: the schedule would never come".to_owned();
        let help = "February has 29 days at most; April, June, September and November have 30";
        ScheduleError { kind: ScheduleErrorKind::Never, length: end - self.offset, ..self.wrong("date", message, help) }
    }
}

impl Rule {
    /// The rule in the form that all equal rules share. `None` if no day matches.
    pub(super) fn settled(mut self) -> Option<Self> {
        if self.weekdays.contains(7) {
            self.weekdays = self.weekdays.with(0).filter(|day| day < 7);
        }
        let Days::Each(days) = self.days else { return Some(self) };
        let length = |month: u32| LENGTHS[month as usize - 1];
        let longest = self.months.iter().map(length).max()?;
        let days = days.filter(|day| day <= longest);
        let is_every_day = days == Set::range(1, longest);
        if self.either && (is_every_day || self.every_weekday()) {
            (self.days, self.weekdays, self.either) = (Self::default().days, Self::default().weekdays, false);
            return Some(self);
        }
        if self.either && days.is_empty() {
            (self.days, self.either) = (Self::default().days, false);
            return Some(self);
        }
        if !self.either {
            self.months = self.months.filter(|month| days.first() <= length(month));
        }
        self.days = if is_every_day { Self::default().days } else { Days::Each(days) };
        (!days.is_empty()).then_some(self)
    }

    pub(super) fn every_hour(&self) -> bool {
        self.hours == Self::default().hours
    }

    pub(super) fn every_day(&self) -> bool {
        self.days == Self::default().days
    }

    pub(super) fn every_month(&self) -> bool {
        self.months == Self::default().months
    }

    pub(super) fn every_weekday(&self) -> bool {
        self.weekdays == Self::default().weekdays
    }

    /// In the form of cron. `None` if cron cannot express it.
    pub(super) fn as_cron(&self) -> Option<String> {
        let whole = Self::default();
        let Days::Each(days) = self.days else { return None };
        let both = !self.every_day() && !self.every_weekday() && !self.either;
        if self.seconds != whole.seconds || self.zone.is_some() || both {
            return None;
        }
        let spelled = |set: Set, all: Set| if set == all { "*".to_owned() } else { set.to_string() };
        let stepped = |set: Set, low: u32, high: u32| match set.as_run() {
            Some(Run { first, last, step }) if step > 1 && last + step > high => {
                if first == low {
                    format!("*/{step}")
                } else {
                    format!("{first}-{high}/{step}")
                }
            }
            Some(Run { first, last, step }) if step > 1 => format!("{first}-{last}/{step}"),
            _ => spelled(set, Set::range(low, high)),
        };
        // Days are written without `*/2`: a star would change whether a day matches by either field or by both.
        let days = match days.as_run() {
            Some(Run { first, last, step }) if step > 1 => format!("{first}-{last}/{step}"),
            _ => spelled(days, Set::range(1, 31)),
        };
        let (minutes, hours, months) =
            (stepped(self.minutes, 0, 59), stepped(self.hours, 0, 23), stepped(self.months, 1, 12));
        Some(format!("{minutes} {hours} {days} {months} {}", spelled(self.weekdays, whole.weekdays)))
    }

    /// In the form of systemd. Called only if cron cannot express the rule, so never with `either`, which only cron can write.
    pub(super) fn as_calendar(&self) -> String {
        let spelled = |set: Set, low: u32, high: u32| match set.as_run() {
            _ if set == Set::range(low, high) => "*".to_owned(),
            Some(Run { first, last, step }) if step > 1 && last + step > high => format!("{first:02}/{step}"),
            Some(Run { first, last, step }) if step > 1 => format!("{first:02}..{last:02}/{step}"),
            _ => set.spelled("..", &|number| format!("{number:02}")),
        };
        let mut parts = Vec::new();
        if !self.every_weekday() {
            // Sunday is the last of systemd's week.
            let days = if self.weekdays.contains(0) { self.weekdays.with(7) } else { self.weekdays };
            parts.push(days.filter(|day| day > 0).spelled("..", &|day| WEEKDAYS[day as usize % 7].to_owned()));
        }
        let days = match self.days {
            Days::Each(days) => format!("-{}", spelled(days, 1, 31)),
            Days::Last => "~01".to_owned(),
            Days::LastWeek => "~07/1".to_owned(),
        };
        parts.push(format!("*-{}{days}", spelled(self.months, 1, 12)));
        let (hours, minutes) = (spelled(self.hours, 0, 23), spelled(self.minutes, 0, 59));
        parts.push(format!("{hours}:{minutes}:{}", spelled(self.seconds, 0, 59)));
        parts.extend(self.zone.as_ref().and_then(TimeZone::iana_name).map(ToOwned::to_owned));
        parts.join(" ")
    }

    /// In the form that `croner` reads: seconds first, `+` if both kinds of days must match, `L` for the last ones.
    pub(super) fn as_croner(&self) -> String {
        let spelled = |set: Set, all: Set| if set == all { "*".to_owned() } else { set.to_string() };
        let whole = Self::default();
        let (days, every) = match self.days {
            Days::Each(days) => (spelled(days, Set::range(1, 31)), self.every_day()),
            Days::Last => ("L".to_owned(), false),
            Days::LastWeek => ("*".to_owned(), true),
        };
        let weekdays = match self.days {
            Days::LastWeek => self.weekdays.iter().map(|day| format!("{day}#L")).collect::<Vec<_>>().join(","),
            _ => spelled(self.weekdays, whole.weekdays),
        };
        let both = if every || self.every_weekday() || self.either { "" } else { "+" };
        let times = [self.seconds, self.minutes].map(|set| spelled(set, Set::range(0, 59))).join(" ");
        let (hours, months) = (spelled(self.hours, whole.hours), spelled(self.months, whole.months));
        format!("{times} {hours} {days} {months} {both}{weekdays}")
    }
}

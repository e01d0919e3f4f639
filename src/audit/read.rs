use std::collections::VecDeque;
use std::path::Path;

use jiff::Timestamp;

use super::files::{self, Layout};
use super::record::LineError;
use super::segment::{self, Line, Lines};
use super::{At, Error, LogEntry, Problem, Severity};

/// Which entries to read; by default all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// From this sequence number on.
    pub from: u64,
    /// Of this type or of one below it: `run` includes `run.started`.
    pub kind: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// At least this severe.
    pub severity: Option<Severity>,
    /// Not older.
    pub since: Option<Timestamp>,
    /// Older.
    pub until: Option<Timestamp>,
}

impl Filter {
    pub(super) fn accepts(&self, record: &LogEntry) -> bool {
        let below = |kind: &String| {
            record.kind.strip_prefix(kind.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        record.seq >= self.from
            && self.kind.as_ref().is_none_or(below)
            && self.run.as_ref().is_none_or(|run| record.run.as_ref() == Some(run))
            && self.severity.is_none_or(|severity| record.severity >= severity)
            && self.since.is_none_or(|since| record.timestamp().is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| record.timestamp().is_some_and(|time| time < until))
    }
}

/// Reads the entries of a log in order, in constant memory. It takes no lock: bytes before a newline never change. It
/// verifies the form of each entry and nothing else.
pub fn read(dir: &Path, filter: Filter) -> Result<Forwards, Error> {
    Forwards::open(Layout::new(dir), filter)
}

/// The entries that a filter accepts. A line that is no entry is an error, and the next call continues after it.
pub struct Forwards {
    layout: Layout,
    filter: Filter,
    waiting: VecDeque<u64>,
    current: Option<Current>,
}

struct Current {
    first: u64,
    line: u64,
    lines: Lines,
}

impl Forwards {
    pub(super) fn open(layout: Layout, filter: Filter) -> Result<Self, Error> {
        if !layout.segments().is_dir() {
            return Err(Error::Missing(layout.dir().to_owned()));
        }
        let mut waiting: VecDeque<u64> = segment::list(&layout)?.into();
        waiting.retain(|first| first.saturating_add(layout.capacity) > filter.from);
        Ok(Self { layout, filter, waiting, current: None })
    }

    fn step(&mut self) -> Result<Option<LogEntry>, Error> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(first) = self.waiting.pop_front() else { return Ok(None) };
                let lines = Lines::open(&self.layout.segment(first), 0)?;
                self.current = Some(Current { first, line: 0, lines });
                continue;
            };
            current.line += 1;
            let (first, line) = (current.first, current.line);
            let (seq, at) = (first + line - 1, || At { segment: files::segment_name(first), line });
            let bad = |reason: String| Problem::BadRecord { seq, at: at(), reason };
            let record = match current.lines.next() {
                Err(source) => {
                    // Reading the same segment again would never end.
                    self.current = None;
                    return Err(Error::Io { action: "read", path: self.layout.segment(first), source });
                }
                Ok(None | Some(Line::Torn(_))) => {
                    self.current = None;
                    continue;
                }
                Ok(Some(Line::Long)) => return Err(bad("longer than 65535 bytes".to_owned()).into()),
                Ok(Some(Line::Whole(line))) => match LogEntry::parse(line) {
                    Ok(record) => record,
                    Err(LineError::Malformed(reason)) => return Err(bad(reason).into()),
                    Err(LineError::NotCanonical) => return Err(Problem::NotCanonical { seq, at: at() }.into()),
                },
            };
            if self.filter.accepts(&record) {
                return Ok(Some(record));
            }
        }
    }
}

impl Iterator for Forwards {
    type Item = Result<LogEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use super::human::{Human, NARROWEST};
use crate::diagnostic::ExitCode;
use crate::event::{Event, What, called};
use crate::report::reporter::Reporter;
use crate::report::style::Style;
use crate::report::text::size_of;

/// How many of the last lines of each stream of a program that failed are shown.
const LAST_LINES: usize = 10;

/// A report for cron and its like, which mail whatever is printed: nothing for a run that ended with 0, else what failed, why, and
/// what to do next, on one screen.
pub struct Quiet<W> {
    to: W,
    human: Human<Vec<u8>>,
    /// The last lines of each program at work.
    lines: HashMap<String, VecDeque<Event>>,
}

impl<W: Write + Send> Quiet<W> {
    /// Writes to `to`, which is standard output.
    pub fn new(to: W, style: Style) -> Self {
        let columns = size_of(io::stdout()).map_or(usize::MAX, |(columns, _)| columns.max(NARROWEST));
        Self { to, human: Human::with(Vec::new(), style, columns, None), lines: HashMap::new() }
    }
}

impl<W: Write + Send> Reporter for Quiet<W> {
    fn event(&mut self, event: &Event) {
        match &event.what {
            What::StageOutput { stage, instance, stream, .. } => {
                let lines = self.lines.entry(called(stage, instance.as_deref())).or_default();
                lines.push_back(event.clone());
                // Of each stream: a long listing must not push the one line of an error out.
                let is_same =
                    |line: &Event| matches!(&line.what, What::StageOutput { stream: other, .. } if other == stream);
                if lines.iter().filter(|line| is_same(line)).count() > LAST_LINES {
                    let oldest = lines.iter().position(is_same);
                    oldest.map(|oldest| lines.remove(oldest));
                }
            }
            What::StageEnded { stage, instance, error, .. } => {
                let lines = self.lines.remove(&called(stage, instance.as_deref())).unwrap_or_default();
                if error.is_some() {
                    lines.iter().chain([event]).for_each(|event| self.human.event(event));
                } else {
                    self.human.count(event);
                }
            }
            What::Message { error: None, .. } | What::Checkpoint { .. } => self.human.count(event),
            What::RunEnded { exit_code, .. } => {
                self.human.event(event);
                if *exit_code != ExitCode::Success {
                    // The stream keeps the error.
                    let _lost = self.to.write_all(self.human.written()).and_then(|()| self.to.flush());
                }
            }
            _ => self.human.event(event),
        }
    }
}

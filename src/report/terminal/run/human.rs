use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::live::Live;
use crate::diagnostic::Diagnostic;
use crate::event::{self, Event, Stream, What};
use crate::report::reporter::Reporter;
use crate::report::style::Style;
use crate::report::summary::{coloured, render_summary};
use crate::report::tally::{Tally, Verdict};
use crate::report::terminal::{Screen, render_diagnostic};
use crate::report::text::{padded, plain, plain_lines, size_of, wrap};
use crate::value::human_duration;

/// A report for people: one line for each stage that ends, problems in full, a summary, and what to do next. On a terminal
/// also the running stages.
pub struct Human<W> {
    to: W,
    style: Style,
    /// How wide lines may be: unlimited if standard output is no terminal.
    columns: usize,
    live: Option<Live>,
    tally: Tally,
    /// The width of the column of names.
    names: usize,
}

/// On narrower terminals, lines are still this wide.
pub(super) const NARROWEST: usize = 40;
/// Longer names push the rest of their line to the right.
const WIDEST_NAME: usize = 24;

impl Human<Vec<u8>> {
    /// What it wrote so far.
    pub(super) fn written(&self) -> &[u8] {
        &self.to
    }
}

impl<W: Write + Send> Human<W> {
    /// Writes to `to`, which is standard output. Running stages are shown if standard error is a terminal.
    pub fn new(to: W, style: Style) -> Self {
        let columns = size_of(io::stdout()).map_or(usize::MAX, |(columns, _)| columns.max(NARROWEST));
        Self::with(to, style, columns, Live::new(style))
    }

    pub(in crate::report) fn with(to: W, style: Style, columns: usize, live: Option<Live>) -> Self {
        Self { to, style, columns, live, tally: Tally::default(), names: 0 }
    }

    /// For the events of a past run.
    pub(in crate::report::terminal) fn of_past(to: W, screen: Screen) -> Self {
        let tally = Tally::of_past();
        Self { to, style: screen.style, columns: screen.width, live: None, tally, names: 0 }
    }

    /// Takes an event into the summary and shows nothing of it.
    pub(in crate::report::terminal) fn count(&mut self, event: &Event) {
        self.tally.take(event);
    }

    pub(in crate::report::terminal) fn say(&mut self, text: &str) {
        let to = &mut self.to;
        let mut write = || {
            // The stream keeps the error; the run continues.
            let _lost = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        };
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }

    fn problem(&mut self, problem: &Diagnostic) {
        let text = render_diagnostic(problem, self.style);
        self.say(&text);
    }

    fn ended(&mut self, error: Option<&Diagnostic>) {
        let Some(ended) = self.tally.ended.last() else { return };
        let word = coloured(ended.outcome, 9, self.style);
        let name = padded(&plain(&ended.name), self.names);
        let used = 2 + 9 + 1 + name.width() + 2;
        // If little room is left beside the name, the rest is indented below it.
        let indent = if self.columns < used + 20 { 6 } else { used };
        let detail = wrap(&plain(&ended.detail), used, indent, self.columns);
        let text = format!("  {word} {name}  {detail}\n");
        self.say(&text);
        if let Some(error) = error {
            self.problem(error);
        }
    }
}

fn called(stage: &str, instance: Option<&str>) -> String {
    plain(&event::called(stage, instance))
}

impl<W: Write + Send> Reporter for Human<W> {
    fn event(&mut self, event: &Event) {
        self.tally.take(event);
        if let Some(live) = &mut self.live {
            live.take(event);
        }
        match &event.what {
            What::RunStarted { pipeline, file, stages, session } => {
                self.names = stages.iter().map(String::len).max().unwrap_or_default().min(WIDEST_NAME);
                if self.tally.is_past {
                    if *session > 1 {
                        self.say(&format!("session {session}\n"));
                    }
                    return;
                }
                let line = format!("{pipeline} ({})  run {}", plain(file), event.run);
                let line = wrap(&line, 0, 2, self.columns);
                self.say(&format!("{line}\n"));
            }
            What::StageOutput { stage, instance, stream, line } => {
                let name = called(stage, instance.as_deref());
                let mark = if *stream == Stream::Stderr { "!" } else { "|" };
                let text = format!("  {} {}\n", self.style.faint(&format!("{name} {mark}")), plain(line));
                self.say(&text);
            }
            What::StageWarning { warning, .. } => self.problem(warning),
            What::StageRetrying { stage, instance, attempt, delay_ms, error } => {
                let name = called(stage, instance.as_deref());
                let delay = human_duration(*delay_ms as f64 / 1_000.0);
                // An event log does not know the delay.
                let next = if self.tally.is_past { String::new() } else { format!(", next in {delay}") };
                let said = format!("{name}: attempt {attempt} failed{next}");
                let said = wrap(&said, 11, 6, self.columns);
                let text = format!("  {} {said}\n", self.style.yellow("retrying"));
                self.say(&text);
                self.problem(error);
            }
            What::StageEnded { error, .. } => self.ended(error.as_ref()),
            What::Message { channel, subject, body, delivered, error, .. } => {
                if delivered.is_some() {
                    let mut text = format!("message to {channel}: {}\n", plain(subject));
                    for line in plain_lines(body).lines() {
                        text.push_str(&format!("  {line}\n"));
                    }
                    self.say(&text);
                }
                if let Some(error) = error {
                    self.problem(error);
                }
            }
            What::Problem { error } => self.problem(error),
            What::Checkpoint { size, root } => {
                let line = wrap(&format!("audit log: {size} records signed, root {root}"), 0, 2, self.columns);
                self.say(&format!("{line}\n"));
            }
            What::RunEnded { error, .. } => {
                if let Some(error) = error {
                    self.problem(error);
                }
                if let Some(verdict) = Verdict::of(&event.what) {
                    let text = render_summary(&self.tally, verdict, self.style, self.columns);
                    self.say(&text);
                }
            }
            What::StageStarted { .. } | What::StageProgress { .. } => {}
        }
    }

    fn pause(&mut self) {
        if let Some(live) = &self.live {
            live.draw();
        }
    }
}

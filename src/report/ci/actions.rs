use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::github::{Annotation, message};
use super::step_summary::render_step_summary;
use super::tail::Tail;
use crate::diagnostic::{Diagnostic, Result, Severity};
use crate::event::{Event, Outcome, Stream, What, called};
use crate::inspect::StageEntry;
use crate::report::reporter::{Reporter, not_written};
use crate::report::style::Style;
use crate::report::summary::render_summary;
use crate::report::tally::{Ended, Tally, Verdict};
use crate::report::text::plain;
use crate::value::human_duration;

/// A report for the log of GitHub Actions: a group for each stage, annotations, and a summary in Markdown.
///
/// A group is printed when its stage has ended: stages that run at the same time would share one otherwise.
pub struct Actions<W> {
    to: W,
    /// The file named by `$GITHUB_STEP_SUMMARY`.
    summary: Option<PathBuf>,
    entries: Vec<StageEntry>,
    outputs: HashMap<String, Tail>,
    tally: Tally,
    lost: Option<Diagnostic>,
}

/// How many bytes of a stage's output are kept until it ends.
const MOST_OUTPUT: usize = 256 * 1024;

impl<W: Write + Send> Actions<W> {
    /// Writes to `to`, and at the end to the file `summary`. `entries` say where the stages stand.
    pub fn new(to: W, summary: Option<PathBuf>, entries: Vec<StageEntry>) -> Self {
        Self { to, summary, entries, outputs: HashMap::new(), tally: Tally::default(), lost: None }
    }

    fn say(&mut self, text: &str) {
        // The stream keeps the error; the run continues.
        let _gone = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
    }

    fn line(&mut self, line: &str) {
        self.say(&format!("{}\n", harmless(line)));
    }

    fn keep(&mut self, stage: &str, instance: Option<&str>, line: String) {
        let tail = self.outputs.entry(called(stage, instance)).or_insert_with(|| Tail::new(MOST_OUTPUT));
        tail.push(line);
    }

    fn group(&mut self, title: &str, lines: impl Iterator<Item = String>) {
        let lines: String = lines.map(|line| format!("{}\n", harmless(&line))).collect();
        self.say(&format!("::group::{}\n{lines}::endgroup::\n", message(&harmless(title))));
    }

    /// Annotates the line of the problem, else that of its stage.
    fn annotate(&mut self, severity: Severity, stage: Option<(&str, &str)>, problem: &Diagnostic) {
        let entry = stage.and_then(|(stage, _)| self.entries.iter().find(|entry| entry.name == stage));
        let place = problem.place.as_ref().or(entry.map(|entry| &entry.place));
        let title = match stage {
            Some((_, name)) => format!("{} in {}", problem.code, plain(name)),
            None => problem.code.to_string(),
        };
        let file = place.map(|place| place.file.as_str());
        let text = Annotation { severity, file, place, title: &title, problem }.command();
        self.say(&text);
    }

    fn ended(&mut self, stage: &str) {
        let Some(ended) = self.tally.ended.last() else { return };
        let Ended { outcome, detail, name, error, .. } = ended;
        let title = format!("{:9} {name}  {detail}", outcome.word());
        let (name, error) = (name.clone(), error.clone());
        let severity = if *outcome == Outcome::Failure { Severity::Error } else { Severity::Warning };
        match self.outputs.remove(&name).filter(|tail| !tail.is_empty()) {
            Some(tail) => self.group(&title, tail.lines()),
            None => self.line(&title),
        }
        if let Some(error) = error {
            self.annotate(severity, Some((stage, &name)), &error);
        }
    }

    fn summarize(&mut self, verdict: Verdict) {
        let text = render_summary(&self.tally, verdict, Style::default(), usize::MAX);
        text.lines().for_each(|line| self.line(line));
        if let Some(file) = &self.summary {
            let text = render_step_summary(&self.tally, verdict, &self.entries);
            self.lost = append(file, &text).err();
        }
    }
}

impl<W: Write + Send> Reporter for Actions<W> {
    fn event(&mut self, event: &Event) {
        self.tally.take(event);
        match &event.what {
            What::RunStarted { pipeline, file, .. } => self.line(&format!("{pipeline} ({file})  run {}", event.run)),
            What::StageStarted { stage, instance, kind, attempt } => {
                let name = called(stage, instance.as_deref());
                if *attempt == 1 {
                    self.line(&format!("started   {name}  {kind}"));
                } else {
                    self.line(&format!("started   {name}  {kind}, attempt {attempt}"));
                }
            }
            What::StageOutput { stage, instance, stream, line } => {
                let mark = if *stream == Stream::Stderr { '!' } else { '|' };
                self.keep(stage, instance.as_deref(), format!("{mark} {line}"));
            }
            What::StageWarning { stage, instance, warning } => {
                let name = called(stage, instance.as_deref());
                self.annotate(Severity::Warning, Some((stage, &name)), warning);
            }
            What::StageRetrying { stage, instance, attempt, delay_ms, error } => {
                let name = called(stage, instance.as_deref());
                let delay = human_duration(*delay_ms as f64 / 1_000.0);
                let error = error.one_line();
                self.line(&format!("retrying  {name}  attempt {attempt} failed, next in {delay}: {error}"));
            }
            What::StageEnded { stage, .. } => self.ended(stage),
            What::Message { channel, subject, body, delivered, error, .. } => {
                if delivered.is_some() {
                    let lines = body.lines().map(|line| format!("| {line}"));
                    self.group(&format!("message to {channel}: {subject}"), lines);
                }
                if let Some(error) = error {
                    // An undelivered message does not change the outcome of the run.
                    self.annotate(Severity::Warning, None, error);
                }
            }
            What::Problem { error } => self.annotate(error.severity, None, error),
            What::Checkpoint { size, root } => self.line(&format!("audit log: {size} records signed, root {root}")),
            What::RunEnded { error, .. } => {
                if let Some(error) = error {
                    self.annotate(error.severity, None, error);
                }
                if let Some(verdict) = Verdict::of(&event.what) {
                    self.summarize(verdict);
                }
            }
            What::StageProgress { .. } => {}
        }
    }

    fn lost(&self) -> Option<Diagnostic> {
        self.lost.clone()
    }
}

/// Appends a text to a file.
fn append(path: &Path, text: &str) -> Result<()> {
    let append = |mut file: File| file.write_all(text.as_bytes()).and_then(|()| file.flush());
    let file = File::options().append(true).create(true).open(path);
    file.and_then(append).map_err(|error| not_written(path, &error))
}

/// Makes a line safe: GitHub takes a line that begins with `::` for a workflow command, and `##[` anywhere in a line.
fn harmless(line: &str) -> String {
    let line = plain(line).replace("##[", "## [");
    if line.trim_start().starts_with("::") { format!("| {line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_a_command() {
        for (line, shown) in [
            ("as it is: a::b", "as it is: a::b"),
            ("::error::x", "| ::error::x"),
            (" \t::add-mask::x", "|  \t::add-mask::x"),
            ("a ##[error]x", "a ## [error]x"),
            ("a\r::error::x", "a\u{fffd}::error::x"),
            ("a\n::error::x", "a\u{fffd}::error::x"),
        ] {
            assert_eq!(harmless(line), shown);
        }
    }
}

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::tail::Tail;
use crate::diagnostic::Diagnostic;
use crate::event::{Event, Outcome, Stream, What, called};
use crate::report::render_diagnostic;
use crate::report::reporter::{Reporter, not_written};
use crate::report::style::Style;
use crate::report::tally::{Ended, Tally, Verdict};
use crate::report::text::plain_lines;

/// A report in `JUnit`'s XML, which CI services show as test results: a stage, or an instance of one, is a test. It is
/// written when the run has ended, beside another reporter, since people still read the log.
pub struct Junit {
    path: PathBuf,
    file: File,
    outputs: HashMap<String, Tail>,
    /// How many bytes the outputs of ended stages take.
    kept: usize,
    cases: Cases,
    tally: Tally,
    lost: Option<Diagnostic>,
}

/// The test cases of the document, and their counts.
#[derive(Debug, Default)]
struct Cases {
    text: String,
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

/// How many bytes of a stage's output are shown.
const MOST_OUTPUT: usize = 64 * 1024;
/// How many bytes of output the whole document holds. Stages that end later show only a count of lines.
const MOST_KEPT: usize = 16 << 20;

/// `2026-11-24T03:04:05`
const WHOLE_SECONDS: usize = 19;

impl Junit {
    /// Writes to an open file, whose name is `path`.
    pub fn new(path: PathBuf, file: File) -> Self {
        Self {
            path,
            file,
            outputs: HashMap::new(),
            kept: 0,
            cases: Cases::default(),
            tally: Tally::default(),
            lost: None,
        }
    }

    fn keep(&mut self, stage: &str, instance: Option<&str>, line: String) {
        let tail = self.outputs.entry(called(stage, instance)).or_insert_with(|| Tail::new(MOST_OUTPUT));
        tail.push(line);
    }

    fn ended(&mut self) {
        let Some(ended) = self.tally.ended.last().filter(|ended| !self.tally.is_sum(ended)) else { return };
        let mut tail = self.outputs.remove(&ended.name).unwrap_or_else(|| Tail::new(0));
        if self.kept + tail.bytes() > MOST_KEPT {
            tail.shrink(0);
        }
        self.kept += tail.bytes();
        self.cases.add(&self.tally.pipeline, ended, &tail);
    }

    /// The whole document.
    fn document(&self, verdict: Verdict) -> String {
        let Cases { text, tests, failures, errors, skipped } = &self.cases;
        let name = attribute(&self.tally.pipeline);
        let counts = format!(
            "name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{:.3}\"",
            verdict.seconds
        );
        // JUnit schemas allow neither a fraction nor an offset here.
        let began = attribute(self.tally.began.get(..WHOLE_SECONDS).unwrap_or_default());
        let properties = [
            ("run", self.tally.run.clone()),
            ("file", self.tally.file.clone()),
            ("outcome", verdict.outcome.word().to_owned()),
            ("exit_code", verdict.exit_code.to_string()),
        ];
        let properties: String = properties
            .iter()
            .map(|(name, value)| format!("      <property name=\"{name}\" value=\"{}\"/>\n", attribute(value)))
            .collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite {counts} skipped=\"{skipped}\" \
             timestamp=\"{began}\">\n    <properties>\n{properties}    </properties>\n{text}  \
             </testsuite>\n</testsuites>\n"
        )
    }

    fn write(&mut self, verdict: Verdict) {
        // A run that could not start or was cancelled is no success, whatever the outcomes of its stages.
        if let Some(error) = verdict.error {
            self.cases.add_run(&self.tally.pipeline, verdict, error);
        }
        let text = self.document(verdict);
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.flush());
        self.lost = written.err().map(|error| not_written(&self.path, &error));
    }
}

impl Reporter for Junit {
    fn event(&mut self, event: &Event) {
        self.tally.take(event);
        match &event.what {
            What::StageOutput { stage, instance, stream, line } => {
                let mark = if *stream == Stream::Stderr { '!' } else { '|' };
                self.keep(stage, instance.as_deref(), format!("{mark} {line}"));
            }
            What::StageWarning { stage, instance, warning } => {
                let text = render_diagnostic(warning, Style::default());
                text.lines().for_each(|line| self.keep(stage, instance.as_deref(), line.to_owned()));
            }
            What::StageRetrying { stage, instance, attempt, error, .. } => {
                let line = format!("attempt {attempt} failed: {}", error.one_line());
                self.keep(stage, instance.as_deref(), line);
            }
            What::StageEnded { .. } => self.ended(),
            What::RunEnded { .. } => {
                if let Some(verdict) = Verdict::of(&event.what) {
                    self.write(verdict);
                }
            }
            What::RunStarted { .. }
            | What::StageStarted { .. }
            | What::StageProgress { .. }
            | What::Problem { .. }
            | What::Checkpoint { .. }
            | What::Message { .. } => {}
        }
    }

    fn lost(&self) -> Option<Diagnostic> {
        self.lost.clone()
    }
}

impl Cases {
    fn add(&mut self, pipeline: &str, ended: &Ended, tail: &Tail) {
        self.tests += 1;
        let mut inside = String::new();
        match (ended.outcome, &ended.error) {
            (Outcome::Failure, error) => {
                self.failures += 1;
                let code = error.as_ref().map_or_else(|| "failure".to_owned(), |error| error.code.to_string());
                let full =
                    error.as_ref().map_or_else(|| ended.why(), |error| render_diagnostic(error, Style::default()));
                inside.push_str(&problem("failure", &code, &ended.why(), &full));
            }
            (Outcome::Skipped | Outcome::Cancelled | Outcome::Blocked, _) => {
                self.skipped += 1;
                let why = format!("{}: {}", ended.outcome.word(), ended.why());
                inside.push_str(&format!("      <skipped message=\"{}\"/>\n", attribute(&why)));
            }
            (Outcome::Success | Outcome::Warning, _) => {}
        }
        let lines: String = tail.lines().map(|line| format!("{line}\n")).collect();
        // A failure that `continue-on-error` forgave is shown, too.
        let passed = ended.error.as_ref().filter(|_| ended.outcome == Outcome::Warning);
        let passed = passed.map(|error| render_diagnostic(error, Style::default())).unwrap_or_default();
        if !(lines.is_empty() && passed.is_empty()) {
            inside.push_str(&format!("      <system-out>{}</system-out>\n", text(&format!("{lines}{passed}"))));
        }
        self.case(pipeline, &ended.name, ended.seconds, &inside);
    }

    fn add_run(&mut self, pipeline: &str, verdict: Verdict, error: &Diagnostic) {
        self.tests += 1;
        let inside = if verdict.outcome == Outcome::Skipped {
            self.skipped += 1;
            format!("      <skipped message=\"{}\"/>\n", attribute(&error.one_line()))
        } else {
            self.errors += 1;
            problem("error", &error.code.to_string(), &error.one_line(), &render_diagnostic(error, Style::default()))
        };
        self.case(pipeline, "(run)", verdict.seconds, &inside);
    }

    fn case(&mut self, pipeline: &str, name: &str, seconds: f64, inside: &str) {
        self.text.push_str(&format!(
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\">\n{inside}    </testcase>\n",
            attribute(pipeline),
            attribute(name),
        ));
    }
}

fn problem(element: &str, code: &str, why: &str, full: &str) -> String {
    format!("      <{element} message=\"{}\" type=\"{code}\">{}</{element}>\n", attribute(why), text(full))
}

/// Escapes a text for XML 1.0, which forbids most control characters, even escaped ones.
fn text(text: &str) -> String {
    let allowed = plain_lines(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    allowed.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escapes an attribute's value, in which a line end would become a blank.
fn attribute(value: &str) -> String {
    text(value).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

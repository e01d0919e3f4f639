use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Map, Value as Json};

use super::{Reporter, Style, plain, plain_lines, render_diagnostic};
use crate::diagnostic::Diagnostic;
use crate::event::{self, Event, Outcome, Stream, What};
use crate::value::{human_bytes, human_duration};

/// A report for people: one line for each stage that ends, what went wrong in full, a summary. On a terminal also a line
/// for each stage that runs.
pub struct Human<W> {
    to: W,
    style: Style,
    bars: Option<MultiProgress>,
    running: BTreeMap<String, Running>,
    width: usize,
    counts: BTreeMap<&'static str, usize>,
    /// Whether the log has the run.
    recorded: bool,
}

struct Running {
    bytes: u64,
    bar: Option<ProgressBar>,
}

impl<W: Write + Send> Human<W> {
    /// Writes to `to`. Progress is shown where standard error is a terminal.
    pub fn new(to: W, style: Style) -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self::with(to, style, bars)
    }

    fn with(to: W, style: Style, bars: Option<MultiProgress>) -> Self {
        Self { to, style, bars, running: BTreeMap::new(), width: 0, counts: BTreeMap::new(), recorded: false }
    }

    fn say(&mut self, text: &str) {
        let to = &mut self.to;
        let mut write = || {
            // Who reads has gone: the run goes on all the same.
            let _gone = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn problem(&mut self, problem: &Diagnostic) {
        let text = render_diagnostic(problem, self.style);
        self.say(&text);
    }

    fn started(&mut self, stage: &str, kind: &str) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {prefix} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_prefix(format!("{stage:width$}", width = self.width));
            bar.set_message(kind.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        self.running.insert(stage.to_owned(), Running { bytes: 0, bar });
    }

    fn ended(&mut self, what: &What) {
        let What::StageEnded { stage, instance, outcome, seconds, outputs, reason, error, .. } = what else { return };
        let name = called(stage, instance.as_deref());
        let running = self.running.remove(&name);
        let bytes = running.as_ref().map_or(0, |running| running.bytes);
        if let Some(bar) = running.and_then(|running| running.bar) {
            bar.finish_and_clear();
        }
        if instance.is_none() {
            *self.counts.entry(outcome.word()).or_default() += 1;
        }
        let word = self.word(*outcome, 9);
        let detail = match reason {
            Some(reason) => plain(reason),
            None => summary(outputs, bytes, *seconds),
        };
        let line = format!("  {word} {name:width$}  {detail}\n", width = self.width);
        self.say(&line);
        if let Some(error) = error {
            self.problem(error);
        }
    }

    fn word(&self, outcome: Outcome, width: usize) -> String {
        let word = format!("{:width$}", outcome.word());
        match outcome {
            Outcome::Success => self.style.green(&word),
            Outcome::Warning => self.style.yellow(&word),
            Outcome::Failure | Outcome::Blocked => self.style.red(&word),
            Outcome::Skipped | Outcome::Cancelled => self.style.faint(&word),
        }
    }
}

fn called(stage: &str, instance: Option<&str>) -> String {
    plain(&event::called(stage, instance))
}

impl<W: Write + Send> Reporter for Human<W> {
    fn event(&mut self, event: &Event) {
        match &event.what {
            What::RunStarted { pipeline, file, stages, .. } => {
                self.width = stages.iter().map(String::len).max().unwrap_or_default();
                let line = format!("{pipeline} ({})  run {}\n", plain(file), event.run);
                self.say(&line);
            }
            What::StageStarted { stage, instance, kind, .. } => self.started(&called(stage, instance.as_deref()), kind),
            What::StageProgress { stage, instance, bytes } => {
                if let Some(running) = self.running.get_mut(&called(stage, instance.as_deref())) {
                    running.bytes = *bytes;
                    if let Some(bar) = &running.bar {
                        bar.set_message(human_bytes(*bytes as f64));
                    }
                }
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
                let line =
                    format!("  {} {name}: attempt {attempt} failed, next in {delay}\n", self.style.yellow("retrying"));
                self.say(&line);
                self.problem(error);
            }
            What::StageEnded { .. } => self.ended(&event.what),
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
                self.recorded = true;
                self.say(&format!("audit log: {size} records signed, root {root}\n"));
            }
            What::RunEnded { outcome, exit_code, seconds, error } => {
                if let Some(error) = error {
                    self.problem(error);
                }
                let counts: Vec<String> = self.counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
                let counts = if counts.is_empty() { "nothing ran".to_owned() } else { counts.join(", ") };
                let word = self.word(*outcome, 0);
                let mut text = format!("{word} in {}: {counts}\n", human_duration(*seconds));
                if *exit_code != 0 && self.recorded {
                    text.push_str(&format!(
                        "exit code {exit_code}; `tl audit show --run {}` has the record\n",
                        event.run
                    ));
                } else if *exit_code != 0 {
                    text.push_str(&format!("exit code {exit_code}\n"));
                }
                self.say(&text);
            }
        }
    }
}

/// What a stage did, in a few words.
fn summary(outputs: &Map<String, Json>, bytes: u64, seconds: f64) -> String {
    let mut words = did(outputs, bytes);
    words.extend(object(outputs));
    words.push(human_duration(seconds));
    words.join(", ")
}

/// The object that a stage delivered.
pub(super) fn object(outputs: &Map<String, Json>) -> Option<String> {
    outputs.get("object").and_then(|object| object["uri"].as_str()).map(plain)
}

/// How much a stage did.
pub(super) fn did(outputs: &Map<String, Json>, bytes: u64) -> Vec<String> {
    let number = |name: &str| outputs.get(name).and_then(Json::as_u64);
    let mut words = Vec::new();
    if let Some(files) = number("files") {
        words.push(if files == 1 { "1 file".to_owned() } else { format!("{files} files") });
    }
    if let Some(bytes) = number("bytes").or_else(|| number("checked_bytes")).or((bytes > 0).then_some(bytes)) {
        words.push(human_bytes(bytes as f64));
    }
    if let Some(skipped @ 1..) = number("skipped") {
        words.push(format!("{skipped} not readable"));
    }
    if let Some(level) = outputs.get("level").and_then(Json::as_str) {
        words.push(format!("proven by {}", plain(level)));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// One of each event, as a run would give them.
    pub(crate) fn sheet() -> Vec<What> {
        let stage = || "deliver".to_owned();
        let error = || Diagnostic::failure("TL0634", "no space is left").help("make room");
        let outputs = |value: Json| value.as_object().cloned().unwrap_or_default();
        let ended = |stage: &str, outcome, outputs, reason: Option<&str>, error| What::StageEnded {
            stage: stage.to_owned(),
            instance: None,
            outcome,
            seconds: 1.25,
            outputs,
            reason: reason.map(str::to_owned),
            error,
            recalled: false,
        };
        vec![
            What::RunStarted {
                pipeline: "orders".to_owned(),
                file: "orders.yaml".to_owned(),
                stages: vec!["collect".to_owned(), stage(), "prove".to_owned()],
                session: 1,
            },
            What::StageStarted { stage: stage(), instance: None, kind: "upload".to_owned(), attempt: 1 },
            What::StageProgress { stage: stage(), instance: None, bytes: 5 << 20 },
            What::StageOutput {
                stage: stage(),
                instance: None,
                stream: Stream::Stdout,
                line: "out \u{1b}[31m".to_owned(),
            },
            What::StageOutput { stage: stage(), instance: None, stream: Stream::Stderr, line: "err".to_owned() },
            What::StageWarning {
                stage: stage(),
                instance: None,
                warning: Diagnostic::warning("TL0613", "`a`: it shrank"),
            },
            What::StageRetrying { stage: stage(), instance: None, attempt: 1, delay_ms: 2_500, error: error() },
            ended("collect", Outcome::Warning, outputs(json!({ "files": 3, "bytes": 4096, "skipped": 1 })), None, None),
            ended("deliver", Outcome::Failure, Map::new(), None, Some(error())),
            ended("prove", Outcome::Skipped, Map::new(), Some("`deliver` failed"), None),
            What::StageStarted {
                stage: "copy".to_owned(),
                instance: Some("nas".to_owned()),
                kind: "upload".to_owned(),
                attempt: 1,
            },
            What::StageEnded {
                stage: "copy".to_owned(),
                instance: Some("nas".to_owned()),
                outcome: Outcome::Success,
                seconds: 1.25,
                outputs: Map::new(),
                reason: None,
                error: None,
                recalled: false,
            },
            What::Problem { error: Diagnostic::warning("TL0708", "the work folder could not be removed") },
            What::Message {
                channel: "log".to_owned(),
                when: "failure".to_owned(),
                subject: "orders: failure".to_owned(),
                body: "two\nlines\n".to_owned(),
                delivered: Some("12 bytes appended".to_owned()),
                error: None,
            },
            What::Message {
                channel: "ops".to_owned(),
                when: "failure".to_owned(),
                subject: "orders: failure".to_owned(),
                body: String::new(),
                delivered: None,
                error: Some(Diagnostic::failure("TL0670", "the message to `ops` was not delivered")),
            },
            What::Checkpoint { size: 12, root: "cm9vdA==".to_owned() },
            What::RunEnded { outcome: Outcome::Failure, exit_code: 1, seconds: 61.0, error: None },
        ]
    }

    fn event(what: What) -> Event {
        Event { ts: "2026-11-24T03:04:05.678Z".to_owned(), run: "01RUN".to_owned(), what }
    }

    #[test]
    fn every_event_as_people_read_it() {
        let mut text = Vec::new();
        let mut reporter = Human::with(&mut text, Style::default(), None);
        sheet().into_iter().for_each(|what| reporter.event(&event(what)));
        insta::assert_snapshot!(String::from_utf8(text).unwrap());
    }

    #[test]
    fn every_event_as_machines_read_it() {
        let mut text = Vec::new();
        let mut reporter = super::super::JsonLines::new(&mut text);
        sheet().into_iter().for_each(|what| reporter.event(&event(what)));
        insta::assert_snapshot!(String::from_utf8(text).unwrap());
    }
}

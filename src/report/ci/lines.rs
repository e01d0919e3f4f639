use std::collections::HashMap;
use std::io::Write;

use crate::diagnostic::Diagnostic;
use crate::event::{Event, Stream, What, called};
use crate::report::reporter::Reporter;
use crate::report::text::plain;
use crate::value::human_duration;

/// One line of text for each event: time, kind, stage, details. For logs, and for `grep`.
pub struct Lines<W> {
    to: W,
    /// The ten seconds in which each stage's progress was last shown.
    shown: HashMap<String, String>,
}

impl<W: Write + Send> Lines<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to, shown: HashMap::new() }
    }

    /// Shows progress once in ten seconds. It comes five times a second, which would drown a log.
    fn is_due(&mut self, event: &Event) -> bool {
        let tens = event.ts.get(..TENS_OF_SECONDS).unwrap_or_default();
        match &event.what {
            What::StageStarted { stage, instance, .. } => {
                self.shown.insert(called(stage, instance.as_deref()), tens.to_owned());
                true
            }
            What::StageProgress { stage, instance, .. } => {
                let before = self.shown.insert(called(stage, instance.as_deref()), tens.to_owned());
                before.as_deref() != Some(tens)
            }
            What::StageEnded { stage, instance, .. } => {
                self.shown.remove(&called(stage, instance.as_deref()));
                true
            }
            _ => true,
        }
    }
}

/// `2026-11-24T03:04:0`
const TENS_OF_SECONDS: usize = 18;

impl<W: Write + Send> Reporter for Lines<W> {
    fn event(&mut self, event: &Event) {
        if self.is_due(event) {
            // The stream keeps the error; the run continues.
            let _gone = writeln!(self.to, "{} {}", event.ts, plain(&text_of(event))).and_then(|()| self.to.flush());
        }
    }
}

fn text_of(event: &Event) -> String {
    let name = |stage: &String, instance: &Option<String>| called(stage, instance.as_deref());
    match &event.what {
        What::RunStarted { pipeline, file, stages, session } => {
            let again = if *session > 1 { format!(", session {session}") } else { String::new() };
            format!("run-started {pipeline}: {file}, {} stages, run {}{again}", stages.len(), event.run)
        }
        What::StageStarted { stage, instance, kind, attempt } => {
            format!("stage-started {}: {kind}, attempt {attempt}", name(stage, instance))
        }
        What::StageProgress { stage, instance, bytes } => {
            format!("stage-progress {}: {bytes} bytes", name(stage, instance))
        }
        What::StageOutput { stage, instance, stream, line } => {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            format!("stage-output {}: {stream}: {line}", name(stage, instance))
        }
        What::StageWarning { stage, instance, warning } => {
            format!("stage-warning {}: {}", name(stage, instance), full(warning))
        }
        What::StageRetrying { stage, instance, attempt, delay_ms, error } => {
            let delay = human_duration(*delay_ms as f64 / 1_000.0);
            format!(
                "stage-retrying {}: attempt {attempt} failed, next in {delay}: {}",
                name(stage, instance),
                full(error)
            )
        }
        What::StageEnded { stage, instance, outcome, seconds, reason, error, .. } => {
            let detail = error.as_ref().map(full).or_else(|| reason.clone());
            let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("stage-ended {}: {} in {}{detail}", name(stage, instance), outcome.word(), human_duration(*seconds))
        }
        What::Problem { error } => format!("problem {}", full(error)),
        What::Checkpoint { size, root } => format!("checkpoint {size} records, root {root}"),
        What::Message { channel, when, subject, delivered, error, .. } => {
            let became = match (delivered, error) {
                (_, Some(error)) => full(error),
                (Some(delivered), None) => format!("delivered: {delivered}"),
                (None, None) => "not delivered".to_owned(),
            };
            format!("message {channel}: {when}: {subject}: {became}")
        }
        What::RunEnded { outcome, exit_code, seconds, left_out, counts, error, .. } => {
            let error = error.as_ref().map(|error| format!(": {}", full(error))).unwrap_or_default();
            let (outcome, took) = (outcome.word(), human_duration(*seconds));
            let undone =
                if left_out.is_empty() { String::new() } else { format!(", left out {}", left_out.join(", ")) };
            let uncounted = counts.reason.as_ref().map(|why| format!(", not counted as a success: {why}"));
            let uncounted = uncounted.unwrap_or_default();
            format!("run-ended {outcome} in {took}, exit code {exit_code}{undone}{uncounted}{error}")
        }
    }
}

/// A problem on one line, with its place.
fn full(problem: &Diagnostic) -> String {
    let place = problem.place.as_ref();
    let place = place.map(|place| format!(" ({}:{}:{})", place.file, place.line, place.column)).unwrap_or_default();
    format!("{}{place}", problem.one_line())
}

use std::collections::HashMap;

use super::text::plain;
use crate::diagnostic::{Diagnostic, ExitCode};
use crate::event::{self, Did, Event, Outcome, What};
use crate::value::{human_bytes, human_duration};

/// What reporters need to sum a run up: who ran, how each stage ended, what went wrong.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) run: String,
    pub(super) pipeline: String,
    pub(super) file: String,
    /// When the run began.
    pub(super) began: String,
    /// Stages and instances, in the order in which they ended.
    pub(super) ended: Vec<Ended>,
    /// Problems of the run as a whole.
    pub(super) problems: Vec<Diagnostic>,
    /// Whether the audit log has the run.
    pub(super) is_recorded: bool,
    /// Whether the events are those of a past run.
    pub(super) is_past: bool,
    running: HashMap<String, Running>,
}

/// How a stage or an instance ended. Its name may come from outside: make it safe before showing it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) stage: String,
    pub(super) name: String,
    pub(super) is_instance: bool,
    pub(super) outcome: Outcome,
    pub(super) seconds: f64,
    /// What it did, or why it did nothing.
    pub(super) detail: String,
    pub(super) error: Option<Diagnostic>,
    /// The first warning, and how many there were.
    pub(super) warned: Option<(Diagnostic, usize)>,
}

#[derive(Debug, Default)]
struct Running {
    kind: String,
    attempt: u32,
    bytes: u64,
    warned: Option<(Diagnostic, usize)>,
}

/// How the run ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict<'a> {
    pub(super) outcome: Outcome,
    pub(super) exit_code: ExitCode,
    pub(super) seconds: f64,
    pub(super) error: Option<&'a Diagnostic>,
    /// The stages that were not selected and are not done.
    pub(super) left_out: &'a [String],
    /// Why it does not count as a success although it ended well.
    pub(super) uncounted: Option<&'a str>,
    /// Whether a later session can resume it.
    pub(super) is_resumable: bool,
}

impl<'a> Verdict<'a> {
    pub(super) fn of(what: &'a What) -> Option<Self> {
        match what {
            What::RunEnded { outcome, exit_code, seconds, left_out, counts, resumable, error } => {
                let (outcome, exit_code, seconds, is_resumable) = (*outcome, *exit_code, *seconds, *resumable);
                let uncounted = counts.reason.as_deref();
                Some(Self { outcome, exit_code, seconds, error: error.as_ref(), left_out, uncounted, is_resumable })
            }
            _ => None,
        }
    }
}

/// The order and the words of the counts, worst first.
const ORDER: [(Outcome, &str); 5] = [
    (Outcome::Failure, "failed"),
    (Outcome::Cancelled, "cancelled"),
    (Outcome::Warning, "with warnings"),
    (Outcome::Skipped, "skipped"),
    (Outcome::Success, "succeeded"),
];

impl Tally {
    /// For the events of a past run. Its journal holds no `Checkpoint`, but whoever reads the journal can look the run up.
    pub(super) fn of_past() -> Self {
        Self { is_recorded: true, is_past: true, ..Self::default() }
    }

    /// Takes an event into account.
    pub(super) fn take(&mut self, event: &Event) {
        match &event.what {
            What::RunStarted { pipeline, file, .. } => {
                self.run.clone_from(&event.run);
                self.pipeline.clone_from(pipeline);
                self.file.clone_from(file);
                self.began.clone_from(&event.ts);
            }
            What::StageProgress { stage, instance, bytes } => {
                self.running(stage, instance.as_deref()).bytes = *bytes;
            }
            What::StageWarning { stage, instance, warning } => {
                let warned = &mut self.running(stage, instance.as_deref()).warned;
                warned.get_or_insert_with(|| (warning.clone(), 0)).1 += 1;
            }
            What::StageEnded { stage, instance, outcome, seconds, did, reason, error, recalled, .. } => {
                let name = event::called(stage, instance.as_deref());
                let running = self.running.remove(&name).unwrap_or_default();
                self.ended.push(Ended {
                    stage: stage.clone(),
                    name,
                    is_instance: instance.is_some(),
                    outcome: *outcome,
                    seconds: *seconds,
                    detail: match reason {
                        Some(reason) => reason.clone(),
                        None if *recalled => "done before, and still there".to_owned(),
                        // A live run shows the kind while the stage works.
                        None if self.is_past && !running.kind.is_empty() => {
                            format!("{}, {}", running.kind, summary(did, &running, *seconds))
                        }
                        None => summary(did, &running, *seconds),
                    },
                    error: error.clone(),
                    warned: running.warned,
                });
            }
            What::Problem { error } => self.problems.push(error.clone()),
            What::Checkpoint { .. } => self.is_recorded = true,
            What::StageStarted { stage, instance, kind, attempt } => {
                let running = self.running(stage, instance.as_deref());
                running.kind.clone_from(kind);
                running.attempt = *attempt;
            }
            What::StageOutput { .. } | What::StageRetrying { .. } | What::Message { .. } | What::RunEnded { .. } => {}
        }
    }

    fn running(&mut self, stage: &str, instance: Option<&str>) -> &mut Running {
        self.running.entry(event::called(stage, instance)).or_default()
    }

    /// How many stages had which outcome, worst first: `1 failed, 2 succeeded`.
    pub(super) fn counts(&self) -> String {
        let stages = || self.ended.iter().filter(|ended| !ended.is_instance);
        let counts: Vec<String> = ORDER
            .iter()
            .map(|(outcome, word)| (stages().filter(|ended| ended.outcome == *outcome).count(), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if counts.is_empty() { "nothing ran".to_owned() } else { counts.join(", ") }
    }

    /// The stages a person should look at: failures, then warnings.
    pub(super) fn remarkable(&self) -> Vec<&Ended> {
        let of = |outcome: Outcome| self.ended.iter().filter(move |ended| ended.outcome == outcome && ended.is_cause());
        of(Outcome::Failure).chain(of(Outcome::Warning)).collect()
    }

    /// Whether a stage only sums up its instances, which are reported themselves.
    pub(super) fn is_sum(&self, ended: &Ended) -> bool {
        !ended.is_instance && self.ended.iter().any(|other| other.is_instance && other.stage == ended.stage)
    }
}

impl Ended {
    /// Whether the problem arose here, and not in an instance.
    fn is_cause(&self) -> bool {
        self.error.is_some() || self.warned.is_some()
    }

    /// The problem on one line: code, message, causes.
    pub(super) fn why(&self) -> String {
        match (&self.error, &self.warned) {
            (Some(error), _) => plain(&error.one_line()),
            (None, Some((first, 1))) => plain(&first.one_line()),
            (None, Some((first, count))) => format!("{} (and {} more)", plain(&first.one_line()), count - 1),
            (None, None) => plain(&self.detail),
        }
    }
}

/// What a stage did, in a few words.
fn summary(did: &Did, running: &Running, seconds: f64) -> String {
    let mut words = how_much(did, running.bytes);
    words.extend((running.attempt > 1).then(|| format!("{} attempts", running.attempt)));
    words.extend(did.uri.as_deref().map(plain));
    words.push(human_duration(seconds));
    words.join(", ")
}

/// How much a stage did. `counted` are the bytes of its progress.
fn how_much(did: &Did, counted: u64) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(files) = did.files {
        words.push(if files == 1 { "1 file".to_owned() } else { format!("{files} files") });
    }
    if let Some(bytes) = did.bytes_or((counted > 0).then_some(counted)) {
        words.push(human_bytes(bytes as f64));
    }
    if let Some(skipped @ 1..) = did.skipped {
        words.push(format!("{skipped} not readable"));
    }
    words.extend(did.level.as_deref().map(|level| format!("proven by {}", plain(level))));
    words
}

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Counts, Did};
use crate::diagnostic::{Diagnostic, ExitCode};

/// How a stage or a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The whole work was done.
    Success,
    /// The work was done, with at least one warning.
    Warning,
    /// The work was not done.
    Failure,
    /// The stage did not apply: its `if` said no, or what it needs did not succeed.
    Skipped,
    /// A user or the failure of another stage stopped it.
    Cancelled,
    /// The run could not start.
    Blocked,
}

impl Outcome {
    /// The word that files, messages and the database use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Blocked => "blocked",
        }
    }

    /// The outcome of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        use Outcome::{Blocked, Cancelled, Failure, Skipped, Success, Warning};
        [Success, Warning, Failure, Skipped, Cancelled, Blocked].into_iter().find(|outcome| outcome.word() == word)
    }

    /// Whether stages that need this one may run.
    pub fn is_ok(self) -> bool {
        matches!(self, Self::Success | Self::Warning)
    }
}

/// The stream of a program that a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When: RFC 3339, UTC, milliseconds.
    pub ts: String,
    /// The run's id.
    pub run: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A run began.
    RunStarted {
        /// The pipeline's name.
        pipeline: String,
        /// The file as the user gave it.
        file: String,
        /// The stages in the order of the file; those of `finally` are last.
        stages: Vec<String>,
        /// The session, counted from 1; left out for the first.
        #[serde(default = "first_session", skip_serializing_if = "is_first")]
        session: u32,
    },
    /// An attempt at a stage began.
    StageStarted {
        /// The stage.
        stage: String,
        /// The instance, named by its matrix values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// The kind of the stage, such as `upload`.
        kind: String,
        /// Counted from 1.
        attempt: u32,
    },
    /// How far a stage is. The count never falls within an attempt.
    StageProgress {
        /// The stage.
        stage: String,
        /// The instance, named by its matrix values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// Bytes handled.
        bytes: u64,
    },
    /// A program wrote a line. Secrets are masked.
    StageOutput {
        /// The stage.
        stage: String,
        /// The instance, named by its matrix values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// The stream it wrote to.
        stream: Stream,
        /// The line without its newline.
        line: String,
    },
    /// A warning; the stage continues.
    StageWarning {
        /// The stage.
        stage: String,
        /// The instance, named by its matrix values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// The warning.
        warning: Diagnostic,
    },
    /// An attempt failed and the stage will be tried again.
    StageRetrying {
        /// The stage.
        stage: String,
        /// The instance, named by its matrix values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// The attempt that failed.
        attempt: u32,
        /// The delay before the next attempt; 0 where an event log does not know it.
        delay_ms: u64,
        /// Why the attempt failed.
        error: Diagnostic,
    },
    /// A stage ended. Each stage ends once; each of its instances ends once before it.
    StageEnded {
        /// The stage.
        stage: String,
        /// The instance, named by its matrix values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// The outcome.
        outcome: Outcome,
        /// The duration, retries included.
        seconds: f64,
        /// The outputs that other stages can use.
        outputs: Map<String, Json>,
        /// What it did, by its outputs; left out where there is nothing to say.
        #[serde(default, skip_serializing_if = "Did::is_nothing")]
        did: Did,
        /// Why it was skipped or cancelled.
        reason: Option<String>,
        /// Why it failed.
        error: Option<Diagnostic>,
        /// Whether an earlier session did it and its result still holds.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        recalled: bool,
    },
    /// A problem of the run as a whole; the run continues.
    Problem {
        /// The problem.
        error: Diagnostic,
    },
    /// The audit log was signed.
    Checkpoint {
        /// The number of records that the signature covers.
        size: u64,
        /// The Merkle root of the records, base64.
        root: String,
    },
    /// A message was sent, or could not be delivered.
    Message {
        /// The channel.
        channel: String,
        /// The occasion, such as `failure`.
        when: String,
        /// The subject.
        subject: String,
        /// The text.
        body: String,
        /// What the channel answered on delivery.
        delivered: Option<String>,
        /// Why it was not delivered.
        error: Option<Diagnostic>,
    },
    /// The run ended. This is the last event.
    RunEnded {
        /// The outcome.
        outcome: Outcome,
        /// The exit code of the process.
        exit_code: ExitCode,
        /// The duration.
        seconds: f64,
        /// The stages that were not selected and that no earlier session did; left out where there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_out: Vec<String>,
        /// Whether it counts as a success.
        #[serde(default, skip_serializing_if = "Counts::is_nothing")]
        counts: Counts,
        /// Whether the journal has what a later session needs to resume the run.
        #[serde(default)]
        resumable: bool,
        /// Why the run could not start or was stopped.
        error: Option<Diagnostic>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_first(session: &u32) -> bool {
    *session == 1
}

fn first_session() -> u32 {
    1
}

impl What {
    /// The stage that it is about, and the instance.
    pub fn subject(&self) -> Option<(&str, Option<&str>)> {
        match self {
            Self::StageStarted { stage, instance, .. }
            | Self::StageProgress { stage, instance, .. }
            | Self::StageOutput { stage, instance, .. }
            | Self::StageWarning { stage, instance, .. }
            | Self::StageRetrying { stage, instance, .. }
            | Self::StageEnded { stage, instance, .. } => Some((stage, instance.as_deref())),
            Self::RunStarted { .. }
            | Self::Problem { .. }
            | Self::Checkpoint { .. }
            | Self::Message { .. }
            | Self::RunEnded { .. } => None,
        }
    }

    /// Masks every text that can hold a secret. The words of `tl` and the names that the file gives stay as they are, even if a
    /// secret is spelled like one of them; the names of instances are masked where they are made.
    pub fn mask(&mut self, mask: &dyn Fn(&str) -> String) {
        match self {
            Self::StageOutput { line, .. } => *line = mask(line),
            Self::StageWarning { warning: error, .. } | Self::StageRetrying { error, .. } | Self::Problem { error } => {
                error.mask(mask);
            }
            Self::StageEnded { outputs, did, reason, error, .. } => {
                outputs.values_mut().for_each(|value| mask_json(value, mask));
                if let Some(uri) = &mut did.uri {
                    *uri = mask(uri);
                }
                if let Some(reason) = reason {
                    *reason = mask(reason);
                }
                if let Some(error) = error {
                    error.mask(mask);
                }
            }
            Self::Message { subject, body, error, .. } => {
                *subject = mask(subject);
                *body = mask(body);
                if let Some(error) = error {
                    error.mask(mask);
                }
            }
            Self::RunEnded { error: Some(error), .. } => error.mask(mask),
            Self::RunEnded { .. }
            | Self::RunStarted { .. }
            | Self::StageStarted { .. }
            | Self::StageProgress { .. }
            | Self::Checkpoint { .. } => {}
        }
    }
}

/// The name of a stage, with its instance in parentheses.
pub fn called(stage: &str, instance: Option<&str>) -> String {
    instance.map_or_else(|| stage.to_owned(), |instance| format!("{stage} ({instance})"))
}

fn mask_json(value: &mut Json, mask: &dyn Fn(&str) -> String) {
    match value {
        Json::String(text) => *text = mask(text),
        Json::Array(items) => items.iter_mut().for_each(|item| mask_json(item, mask)),
        Json::Object(map) => map.values_mut().for_each(|item| mask_json(item, mask)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::super::Assurance;
    use super::*;
    use crate::diagnostic::{Kind, Location, Severity, codes};
    use crate::value::written_schema_of;

    fn diagnostic() -> Diagnostic {
        let place = Location { file: "p.yaml".to_owned(), line: 7, column: 3, length: 4, text: "  abcd".to_owned() };
        let full = std::io::Error::other("the disk is full");
        let error = Diagnostic::new(codes::TL0634, Kind::Destination, "no space is left").at(place).label("here");
        error.cause(&full).help("make room").transient(true)
    }

    /// Every variant, with every optional field set and unset.
    fn samples() -> Vec<What> {
        let instances = [None, Some("eu".to_owned())];
        let errors = [None, Some(diagnostic()), Some(Diagnostic::warning(codes::TL0613, "it shrank"))];
        let outcomes = [
            Outcome::Success,
            Outcome::Warning,
            Outcome::Failure,
            Outcome::Skipped,
            Outcome::Cancelled,
            Outcome::Blocked,
        ];
        let text = || "text".to_owned();
        let mut all = vec![
            What::Problem { error: diagnostic() },
            What::Checkpoint { size: u64::MAX, root: text() },
            What::RunStarted { pipeline: text(), file: text(), stages: vec![text()], session: 1 },
            What::RunStarted { pipeline: text(), file: text(), stages: Vec::new(), session: 2 },
        ];
        for instance in &instances {
            let (stage, instance) = (text(), instance.clone());
            let both = || (stage.clone(), instance.clone());
            let (stage, instance) = both();
            all.push(What::StageStarted { stage, instance, kind: text(), attempt: 2 });
            let (stage, instance) = both();
            all.push(What::StageProgress { stage, instance, bytes: 1 << 60 });
            for stream in [Stream::Stdout, Stream::Stderr] {
                let (stage, instance) = both();
                all.push(What::StageOutput { stage, instance, stream, line: "\u{1b}[2J".to_owned() });
            }
            let (stage, instance) = both();
            all.push(What::StageWarning { stage, instance, warning: diagnostic().as_warning() });
            let (stage, instance) = both();
            all.push(What::StageRetrying { stage, instance, attempt: 1, delay_ms: 9, error: diagnostic() });
            for (outcome, error) in
                outcomes.iter().flat_map(|outcome| errors.iter().map(move |error| (*outcome, error)))
            {
                let (stage, instance) = both();
                let outputs = json!({ "object": { "size": 1.5, "uri": null } }).as_object().unwrap().clone();
                let (error, recalled) = (error.clone(), error.is_none());
                let reason = recalled.then(text);
                let did =
                    if recalled { Did { files: Some(3), uri: Some(text()), ..Did::default() } } else { Did::default() };
                all.push(What::StageEnded {
                    stage,
                    instance,
                    outcome,
                    seconds: 0.125,
                    outputs,
                    did,
                    reason,
                    error,
                    recalled,
                });
            }
        }
        for error in errors {
            let (delivered, left_out) = (error.is_none().then(text), error.iter().map(|_| text()).collect());
            let message = (text(), text(), text(), text());
            let (channel, when, subject, body) = message;
            all.push(What::Message { channel, when, subject, body, delivered, error: error.clone() });
            let (outcome, exit_code) = (Outcome::Failure, ExitCode::Destination);
            let (at, reason) = (error.is_none().then(text), error.is_some().then(text));
            let counts = Counts {
                assurance: at.is_some().then_some(Assurance::Proven),
                at,
                reason,
                files: Some(1),
                bytes: None,
            };
            all.push(What::RunEnded { outcome, exit_code, seconds: 61.0, left_out, counts, resumable: true, error });
        }
        all
    }

    #[test]
    fn every_event_reads_back_as_what_it_was() {
        let mut seen = BTreeSet::new();
        for what in samples() {
            let event = Event { ts: "2026-11-24T03:04:05.000Z".to_owned(), run: "01KB".to_owned(), what };
            let line = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event, "{line}");
            seen.insert(serde_json::to_value(&event).unwrap()["event"].as_str().unwrap().to_owned());
        }
        let schema = written_schema_of::<Event>();
        let variants = schema["oneOf"].as_array().unwrap().iter();
        let known: BTreeSet<String> =
            variants.map(|one| one["properties"]["event"]["const"].as_str().unwrap().to_owned()).collect();
        assert_eq!(seen, known, "a sample of each");
    }

    #[test]
    fn fields_that_an_older_build_left_out_have_defaults() {
        let event = |text: &str| serde_json::from_str::<Event>(text).unwrap().what;
        let started = r#"{"ts":"t","run":"r","event":"run-started","pipeline":"p","file":"f","stages":[]}"#;
        assert!(matches!(event(started), What::RunStarted { session: 1, .. }));
        let ended = r#"{"ts":"t","run":"r","event":"stage-ended","stage":"s","outcome":"failure","seconds":1,"outputs":{},
                       "error":{"code":"TL0632","message":"it is there"}}"#;
        let What::StageEnded { instance: None, reason: None, error: Some(error), recalled: false, .. } = event(ended)
        else {
            panic!("{:?}", event(ended))
        };
        assert_eq!(error, Diagnostic::failure(codes::TL0632, "it is there"));
        assert_eq!(error.severity, Severity::Error);
        let ended = r#"{"ts":"t","run":"r","event":"run-ended","outcome":"success","exit_code":0,"seconds":1}"#;
        assert!(matches!(event(ended), What::RunEnded { exit_code: ExitCode::Success, error: None, .. }));
    }

    #[test]
    fn every_outcome_has_one_word() {
        for what in samples() {
            if let What::StageEnded { outcome, .. } = what {
                assert_eq!(Outcome::from_word(outcome.word()), Some(outcome));
                assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.word());
            }
        }
        assert_eq!(Outcome::from_word("running"), None);
    }
}

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::diagnostic::Diagnostic;

/// How a stage or a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All was done.
    Success,
    /// It was done, but for something worth knowing.
    Warning,
    /// It was not done.
    Failure,
    /// It was not meant to be done.
    Skipped,
    /// Somebody, or the failure of another stage, ended it.
    Cancelled,
    /// The run could not start.
    Blocked,
}

impl Outcome {
    /// The word for it, as files and messages spell it.
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

    /// Whether what depends on it may run.
    pub fn is_ok(self) -> bool {
        matches!(self, Self::Success | Self::Warning)
    }
}

/// Which of a child's streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Event {
    /// When: RFC 3339, UTC, milliseconds.
    pub ts: String,
    /// The run's id.
    pub run: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A run began.
    RunStarted {
        /// The pipeline's name.
        pipeline: String,
        /// The file as the user gave it.
        file: String,
        /// Its stages, in the order of the file; those of `finally` last.
        stages: Vec<String>,
        /// How often the run was started or resumed, this time included; left out for the first.
        #[serde(skip_serializing_if = "is_first")]
        session: u32,
    },
    /// An attempt at a stage began.
    StageStarted {
        /// Which stage.
        stage: String,
        /// Which of its instances, by its values in the matrix.
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// What it does, such as `upload`.
        kind: String,
        /// Counted from 1.
        attempt: u32,
    },
    /// A stage moved on. The count never goes back within an attempt.
    StageProgress {
        /// Which stage.
        stage: String,
        /// Which of its instances, by its values in the matrix.
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// Bytes handled.
        bytes: u64,
    },
    /// A child wrote a line. Secrets are masked.
    StageOutput {
        /// Which stage.
        stage: String,
        /// Which of its instances, by its values in the matrix.
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// Where it wrote.
        stream: Stream,
        /// The line, without its end.
        line: String,
    },
    /// Something worth knowing; the stage goes on.
    StageWarning {
        /// Which stage.
        stage: String,
        /// Which of its instances, by its values in the matrix.
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// What.
        warning: Diagnostic,
    },
    /// An attempt failed and will be made again.
    StageRetrying {
        /// Which stage.
        stage: String,
        /// Which of its instances, by its values in the matrix.
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// The attempt that failed.
        attempt: u32,
        /// How long until the next one.
        delay_ms: u64,
        /// Why it failed.
        error: Diagnostic,
    },
    /// A stage ended; exactly one for each stage, and one for each of its instances before it.
    StageEnded {
        /// Which stage.
        stage: String,
        /// Which of its instances, by its values in the matrix.
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// How.
        outcome: Outcome,
        /// How long it took, retries included.
        seconds: f64,
        /// What others may use.
        outputs: Map<String, Json>,
        /// Why it was skipped or cancelled.
        reason: Option<String>,
        /// Why it failed.
        error: Option<Diagnostic>,
        /// Whether an earlier session of the run did it, and it is still as it was left.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        recalled: bool,
    },
    /// A problem of the run as a whole; it goes on.
    Problem {
        /// What.
        error: Diagnostic,
    },
    /// The log was signed.
    Checkpoint {
        /// How many records it covers.
        size: u64,
        /// Their Merkle root, base64.
        root: String,
    },
    /// A message was sent, or was not delivered.
    Message {
        /// To which channel.
        channel: String,
        /// Why, such as `failure`.
        when: String,
        /// Its first line.
        subject: String,
        /// Its text.
        body: String,
        /// How delivery is known.
        delivered: Option<String>,
        /// Why it was not delivered.
        error: Option<Diagnostic>,
    },
    /// The run ended; the last event.
    RunEnded {
        /// How.
        outcome: Outcome,
        /// What the process will exit with.
        exit_code: u8,
        /// How long it took.
        seconds: f64,
        /// The stages that were not selected, and that no earlier session has done; left out where there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_out: Vec<String>,
        /// Why it could not start, or was stopped.
        error: Option<Diagnostic>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_first(session: &u32) -> bool {
    *session == 1
}

impl What {
    /// Replaces every text that may come from outside, by `mask`.
    pub fn mask(&mut self, mask: &dyn Fn(&str) -> String) {
        if let Some(instance) = self.instance_mut() {
            *instance = mask(instance);
        }
        match self {
            Self::StageOutput { line, .. } => *line = mask(line),
            Self::StageWarning { warning: error, .. } | Self::StageRetrying { error, .. } | Self::Problem { error } => {
                error.mask(mask);
            }
            Self::StageEnded { outputs, reason, error, .. } => {
                outputs.values_mut().for_each(|value| mask_json(value, mask));
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

/// What people call a stage, or an instance of it.
pub fn called(stage: &str, instance: Option<&str>) -> String {
    instance.map_or_else(|| stage.to_owned(), |instance| format!("{stage} ({instance})"))
}

impl What {
    /// What an instance is called comes from its values, which may come from outside.
    fn instance_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::StageStarted { instance, .. }
            | Self::StageProgress { instance, .. }
            | Self::StageOutput { instance, .. }
            | Self::StageWarning { instance, .. }
            | Self::StageRetrying { instance, .. }
            | Self::StageEnded { instance, .. } => instance.as_mut(),
            _ => None,
        }
    }
}

fn mask_json(value: &mut Json, mask: &dyn Fn(&str) -> String) {
    match value {
        Json::String(text) => *text = mask(text),
        Json::Array(items) => items.iter_mut().for_each(|item| mask_json(item, mask)),
        Json::Object(map) => map.values_mut().for_each(|item| mask_json(item, mask)),
        _ => {}
    }
}

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::diagnostic::{Code, Diagnostic, ExitCode};
use crate::event::{Assurance, Outcome};

/// Whether a run is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// A process works on it.
    Running,
    /// Its process is gone without an end.
    Interrupted,
    /// It ended.
    Ended,
}

/// A run. Times are RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Its id.
    #[serde(rename = "run")]
    pub id: String,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The pipeline file.
    #[serde(serialize_with = "shown")]
    pub file: PathBuf,
    /// SHA-256 of that file, in hexadecimal.
    pub sha256: String,
    /// The inputs; `None` if they hold a secret.
    pub inputs: Option<Json>,
    /// The number of sessions; 0 before all its secrets were read.
    pub sessions: u32,
    /// The id of the last process.
    pub process: u32,
    /// Whether it is at work.
    #[serde(rename = "life")]
    pub state: RunState,
    /// The group that it waits for, while it does.
    pub waiting: Option<String>,
    /// When it first started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// The outcome, once it ended.
    pub outcome: Option<Outcome>,
    /// The exit code of its process, once it ended.
    pub exit_code: Option<ExitCode>,
    /// The duration of all sessions together.
    pub seconds: Option<f64>,
    /// The stages that were not selected and are not done.
    pub left_out: Vec<String>,
    /// How far its success is proven; `None` if it does not count as one.
    pub counts: Option<Assurance>,
    /// When it last counted as a success. A later session does not take that back.
    pub good: Option<String>,
    /// The files that it collected.
    pub files: Option<u64>,
    /// The bytes that it delivered.
    pub bytes: Option<u64>,
    /// Why it does not count although it ended well.
    pub reason: Option<String>,
    /// Why it was stopped or could not start.
    pub error: Option<Diagnostic>,
}

impl Run {
    /// The outcome, or `running` or `interrupted`.
    pub fn word(&self) -> &'static str {
        match (self.state, self.outcome) {
            (RunState::Running, _) => "running",
            (RunState::Ended, Some(outcome)) => outcome.word(),
            _ => "interrupted",
        }
    }
}

/// A stage of a run, or one of its instances.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageRun {
    /// The stage.
    pub stage: String,
    /// The instance, by its matrix values.
    pub instance: Option<String>,
    /// The kind, such as `upload`; `None` if it never started.
    pub kind: Option<String>,
    /// The last session with an event of it.
    pub session: u32,
    /// The last attempt; 0 if there was none.
    pub attempt: u32,
    /// When the first attempt began.
    pub started: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// The outcome, once it ended.
    pub outcome: Option<Outcome>,
    /// The duration.
    pub seconds: Option<f64>,
    /// The bytes that it handled.
    pub bytes: Option<u64>,
    /// The outputs, secrets masked.
    pub outputs: Option<Map<String, Json>>,
    /// Why it was skipped or cancelled.
    pub reason: Option<String>,
    /// Why it failed.
    pub error: Option<Diagnostic>,
}

/// A warning, or the error of an attempt that was retried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remark {
    /// The stage.
    pub stage: String,
    /// The instance.
    pub instance: Option<String>,
    /// The session.
    pub session: u32,
    /// The attempt.
    pub attempt: u32,
    /// When.
    pub at: String,
    /// Whether it is the error of a retried attempt.
    pub is_retry: bool,
    /// The problem.
    pub problem: Diagnostic,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Its stages, in the order of their first event.
    pub stages: Vec<StageRun>,
    /// Its warnings and retries, in order.
    pub remarks: Vec<Remark>,
}

/// The first failed stage of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The stage.
    pub stage: String,
    /// The instance.
    pub instance: Option<String>,
    /// The code of its error.
    pub code: Option<Code>,
}

/// How much a run handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSize {
    /// The files that it collected.
    pub files: Option<u64>,
    /// The bytes that it delivered.
    pub bytes: Option<u64>,
}

/// When a pipeline file last ran well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// The pipeline file.
    pub file: PathBuf,
    /// The start of its first run, by a clock that was not ahead.
    pub first: Option<String>,
    /// The last time that a run counted as a success.
    pub good: Option<String>,
}

fn shown<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

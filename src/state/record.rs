use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::diagnostic::{Code, Diagnostic, ExitCode};
use crate::event::Outcome;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// Its process is at work.
    Running,
    /// Its process is gone, and it has no end.
    Interrupted,
    /// It has an end.
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
    /// The inputs; none where they hold a secret.
    pub inputs: Option<Json>,
    /// How often it was started or resumed.
    pub sessions: u32,
    /// The process that is at work, or was.
    pub process: u32,
    /// How far it is.
    pub life: Life,
    /// When it first started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// The outcome, once it ended.
    pub outcome: Option<Outcome>,
    /// The exit code of its process, once it ended.
    pub exit_code: Option<ExitCode>,
    /// How long it was at work, all sessions together.
    pub seconds: Option<f64>,
    /// The stages that were not selected and are not done.
    pub left_out: Vec<String>,
    /// Why it was stopped or could not start.
    pub error: Option<Diagnostic>,
}

impl Run {
    /// The outcome, or what there is instead of one.
    pub fn word(&self) -> &'static str {
        match (self.life, self.outcome) {
            (Life::Running, _) => "running",
            (Life::Ended, Some(outcome)) => outcome.word(),
            _ => "interrupted",
        }
    }
}

/// What became of a stage, or of one of its instances.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageRun {
    /// The stage.
    pub stage: String,
    /// The instance, as people call it.
    pub instance: Option<String>,
    /// What it does, such as `upload`; none where it never started.
    pub kind: Option<String>,
    /// The last session that had to do with it.
    pub session: u32,
    /// The last attempt; 0 where there was none.
    pub attempt: u32,
    /// When the first attempt began.
    pub started: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// The outcome, once it ended.
    pub outcome: Option<Outcome>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// Bytes it handled.
    pub bytes: Option<u64>,
    /// The outputs, secrets masked.
    pub outputs: Option<Map<String, Json>>,
    /// Why it was skipped or cancelled.
    pub reason: Option<String>,
    /// Why it failed.
    pub error: Option<Diagnostic>,
}

/// Something worth knowing, or why an attempt failed that was made again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remark {
    /// The stage.
    pub stage: String,
    /// The instance.
    pub instance: Option<String>,
    /// In which session.
    pub session: u32,
    /// In which attempt.
    pub attempt: u32,
    /// When.
    pub at: String,
    /// Whether the attempt failed and was made again.
    pub is_retry: bool,
    /// The problem.
    pub problem: Diagnostic,
}

/// All that is known of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Its stages, in the order in which they were first heard of.
    pub stages: Vec<StageRun>,
    /// Remarks, in the order in which they were made.
    pub remarks: Vec<Remark>,
}

/// The first stage of a run that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The stage.
    pub stage: String,
    /// The instance.
    pub instance: Option<String>,
    /// The code of its error.
    pub code: Option<Code>,
}

/// When a pipeline last did what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// The pipeline file.
    pub file: PathBuf,
    /// When a run of it first started.
    pub first: String,
    /// When one last ended in success or warning.
    pub good: Option<String>,
}

fn shown<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

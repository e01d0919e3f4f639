use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Draft, Severity};

/// What the log records. Names and fields are a published format: `schemas/audit.v1.schema.json`.
///
/// A change adds kinds or optional fields and leaves the rest alone. Logs live for years, and other programs read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
pub enum Record {
    /// The first session of a run began.
    #[serde(rename = "run.started")]
    RunStarted(Box<RunStart>),
    /// A later session of a run began.
    #[serde(rename = "run.resumed")]
    RunResumed(Box<RunStart>),
    /// A session of a run ended.
    #[serde(rename = "run.finished")]
    RunFinished(RunEnd),
    /// The checkpoint at the end of a run failed.
    #[serde(rename = "run.unsigned")]
    RunUnsigned {
        /// Why.
        error: String,
    },
    /// A stage, or one instance of it, began.
    #[serde(rename = "stage.started")]
    StageStarted {
        /// Which one.
        #[serde(flatten)]
        name: StageName,
    },
    /// An attempt failed and another one follows.
    #[serde(rename = "stage.retrying")]
    StageRetrying {
        /// Which stage.
        #[serde(flatten)]
        name: StageName,
        /// The attempt that failed, counted from 1.
        attempt: u32,
        /// The wait before the next one, in milliseconds.
        delay_ms: u64,
        /// Why it failed.
        error: String,
    },
    /// A stage, or one instance of it, ended.
    #[serde(rename = "stage.ended")]
    StageEnded {
        /// Which one.
        #[serde(flatten)]
        name: StageName,
        /// `success`, `warning`, `failure`, `skipped` or `cancelled`.
        outcome: String,
        /// Why, where it needs a reason.
        detail: Option<String>,
        /// An earlier session did the work, and it still holds.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        recalled: bool,
    },
    /// An object is about to be sent to a store.
    #[serde(rename = "upload.intent")]
    UploadIntent {
        /// Which stage sends it.
        #[serde(flatten)]
        name: StageName,
        /// The object.
        uri: String,
        /// Whether it may replace an object of the same key.
        overwrite: bool,
        /// Until when it is to be locked, in RFC 3339.
        lock_until: Option<String>,
    },
    /// Parts that an earlier attempt sent were used again.
    #[serde(rename = "upload.resumed")]
    UploadResumed {
        /// Which stage sends it.
        #[serde(flatten)]
        name: StageName,
        /// The object.
        uri: String,
        /// How many parts.
        parts: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// An object is in its store.
    #[serde(rename = "upload.done")]
    UploadDone {
        /// Which stage sent it.
        #[serde(flatten)]
        name: StageName,
        /// The object.
        uri: String,
        /// Its bytes.
        size: u64,
        /// Its SHA-256, in hexadecimal.
        sha256: String,
        /// Its version, where the store has versions.
        version: Option<String>,
        /// Until when it is locked, in RFC 3339.
        lock_until: Option<String>,
    },
    /// An object could not be delivered.
    #[serde(rename = "upload.failed")]
    UploadFailed {
        /// Which stage sent it.
        #[serde(flatten)]
        name: StageName,
        /// The object.
        uri: String,
        /// Why.
        error: String,
    },
    /// A multipart upload that an earlier run left open was aborted.
    #[serde(rename = "upload.aborted")]
    UploadAborted(UploadRef),
    /// A multipart upload that an earlier run left open stays open: its store is no longer in the pipeline file.
    #[serde(rename = "upload.abandoned")]
    UploadAbandoned(UploadRef),
    /// An artifact is about to be sealed.
    #[serde(rename = "seal.intent")]
    SealIntent {
        /// Which stage seals it.
        #[serde(flatten)]
        name: StageName,
        /// For whom.
        recipients: Vec<String>,
    },
    /// An artifact was sealed.
    #[serde(rename = "seal.done")]
    SealDone {
        /// Which stage sealed it.
        #[serde(flatten)]
        name: StageName,
        /// The bytes of the sealed file.
        size: u64,
        /// The bytes that were sealed.
        plaintext_size: u64,
        /// The SHA-256 of the file's header, in hexadecimal.
        header_sha256: String,
    },
    /// Identities are about to open a sealed file.
    #[serde(rename = "key.used")]
    KeyUsed {
        /// Which stage opens it.
        #[serde(flatten)]
        name: StageName,
        /// The recipients that the identities belong to.
        recipients: Vec<String>,
    },
    /// A secret is about to be handed out. Recorded once for each attempt or opening, and purpose.
    #[serde(rename = "secret.used")]
    SecretUsed {
        /// Its name in the file.
        secret: String,
        /// `env`, `identity`, `store` or `channel`.
        purpose: String,
        /// What uses it.
        #[serde(flatten)]
        by: SecretUser,
    },
    /// An object is what it must be.
    #[serde(rename = "verify.passed")]
    VerifyPassed {
        /// Which stage verified it.
        #[serde(flatten)]
        name: StageName,
        /// The object.
        uri: String,
        /// How thoroughly: `presence`, `checksum` or `content`.
        level: String,
        /// The bytes that were read.
        checked_bytes: u64,
    },
    /// An object is not what it must be.
    #[serde(rename = "verify.failed")]
    VerifyFailed {
        /// Which stage verified it.
        #[serde(flatten)]
        name: StageName,
        /// The object.
        uri: String,
        /// What is wrong with it.
        error: String,
    },
    /// A channel took a message.
    #[serde(rename = "notify.delivered")]
    NotifyDelivered(SentMessage),
    /// A channel did not take a message.
    #[serde(rename = "notify.failed")]
    NotifyFailed {
        /// The message and the error.
        #[serde(flatten)]
        message: SentMessage,
        /// Whether another attempt follows.
        again: bool,
    },
    /// A crash left an unfinished line, which was moved to `torn/`.
    #[serde(rename = "audit.torn_tail")]
    AuditTornTail {
        /// Its file there.
        file: String,
        /// Its bytes.
        length: u64,
        /// Their SHA-256, in hexadecimal.
        sha256: String,
    },
    /// Somebody accepted a damaged log: it was put aside, and this record begins a new one.
    #[serde(rename = "audit.accepted")]
    AuditAccepted {
        /// The folder that holds the old log.
        directory: String,
        /// The first thing that did not fit.
        first_problem: Option<String>,
        /// The name of the old log.
        origin: Option<String>,
        /// How many things did not fit.
        problems: u64,
        /// Why it was accepted, in the words of whoever did.
        reason: String,
        /// The records of the old log.
        records: u64,
        /// The root of its newest checkpoint, in base64.
        root: Option<String>,
        /// The size of its newest checkpoint.
        size: Option<u64>,
    },
    /// The clock was set back since the record before. The order of records is that of their numbers.
    #[serde(rename = "clock.jump")]
    ClockJump {
        /// The time of the record before.
        from: String,
        /// The time now.
        to: String,
    },
}

/// The beginning of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunStart {
    /// The name of the pipeline.
    pub pipeline: String,
    /// Its file.
    pub file: String,
    /// The SHA-256 of that file, in hexadecimal.
    pub file_sha256: String,
    /// The files that it extends. The digest of the pipeline file alone would not show that one of them changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extends: Vec<ExtendedFile>,
    /// The inputs. Numbers with a fraction are texts: canonical JSON has integers only.
    pub inputs: Map<String, Value>,
    /// The SHA-256 of the plan that the run is held to, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_sha256: Option<String>,
    /// Which session of the run this is, where it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// The version of `tl`.
    pub version: String,
}

/// A file that a pipeline extends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExtendedFile {
    /// Its name.
    pub file: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunEnd {
    /// The name of the pipeline.
    pub pipeline: String,
    /// `success`, `warning`, `failure`, `skipped`, `cancelled` or `blocked`.
    pub outcome: String,
    /// The exit code, unless no stage could start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// Why no stage could start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<String>>,
    /// The stages that a selection left undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// How far its success is proven: `proven`, `delivered` or `complete`; `none` if it does not count as a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<String>,
}

/// A stage, or one instance of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageName {
    /// The stage.
    pub stage: String,
    /// The instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// What uses a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretUser {
    /// An attempt at a stage.
    Attempt {
        /// Which stage.
        #[serde(flatten)]
        name: StageName,
        /// The attempt, counted from 1.
        attempt: u32,
    },
    /// A store that is opened.
    Store {
        /// Its name in the file.
        store: String,
    },
    /// A channel that is opened.
    Channel {
        /// Its name in the file.
        channel: String,
    },
}

/// A multipart upload that an earlier run left open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadRef {
    /// The object that it was to become.
    pub uri: String,
    /// The store's id of the upload.
    pub upload: String,
    /// The run that left it open.
    pub of: String,
}

/// An attempt to send a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentMessage {
    /// The channel.
    pub channel: String,
    /// The id of the message, the same for each attempt.
    pub id: String,
    /// The occasion, such as `failure`.
    pub when: String,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// The channel's answer, or why it did not take the message.
    pub how: String,
}

impl Record {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::RunFinished(end) if matches!(end.outcome.as_str(), "failure" | "blocked") => Severity::Error,
            Self::RunUnsigned { .. } | Self::UploadFailed { .. } | Self::VerifyFailed { .. } => Severity::Error,
            Self::KeyUsed { .. } | Self::SecretUsed { .. } => Severity::Notice,
            Self::UploadAbandoned(_)
            | Self::NotifyFailed { .. }
            | Self::AuditTornTail { .. }
            | Self::ClockJump { .. } => Severity::Warning,
            Self::AuditAccepted { .. } => Severity::Critical,
            Self::RunStarted(_)
            | Self::RunResumed(_)
            | Self::RunFinished(_)
            | Self::StageStarted { .. }
            | Self::StageRetrying { .. }
            | Self::StageEnded { .. }
            | Self::UploadIntent { .. }
            | Self::UploadResumed { .. }
            | Self::UploadDone { .. }
            | Self::UploadAborted(_)
            | Self::SealIntent { .. }
            | Self::SealDone { .. }
            | Self::VerifyPassed { .. }
            | Self::NotifyDelivered(_) => Severity::Info,
        }
    }
}

impl From<Record> for Draft {
    fn from(record: Record) -> Self {
        let Ok(Tagged { kind, data }) = serde_json::to_value(&record).and_then(serde_json::from_value) else {
            unreachable!("every record has a type and an object with text keys")
        };
        Self { kind, severity: record.severity(), run: None, data }
    }
}

/// A record in its two parts.
#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "type")]
    kind: String,
    data: Map<String, Value>,
}

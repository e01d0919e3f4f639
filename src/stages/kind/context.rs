use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::audit::{Record, SecretUser, StageName};
use crate::channels::Message;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Stream;
use crate::stages::artifact::{ArtifactReader, ArtifactRef, ArtifactWriter, FailureGate, Sink, Source};
use crate::storage::{Checksums, OpenUpload, PendingObject, Store};
use crate::value::{Cancel, Digest, Masker};
use crate::vault::{Secrets, Uses};

/// The progress of an attempt. The stage writes it, the dispatcher reads it.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
}

impl Meter {
    /// Adds to the bytes handled.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes handled so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// What a stage reports while it runs.
#[derive(Debug)]
pub enum StageNotice {
    /// A line that a child process wrote.
    Line(Stream, String),
    /// A warning.
    Warning(Diagnostic),
}

/// Writes to the audit log.
pub trait Recorder: Send + Sync {
    /// Writes a record. The record is on disk when this returns, so an intent can be recorded before the act.
    fn record(&self, record: Record) -> Result<()>;

    /// Signs the current state of the log.
    fn checkpoint(&self) -> Result<Checkpoint>;
}

/// A signed state of the log.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The number of records that it covers.
    pub size: u64,
    /// Their Merkle root, base64.
    pub root: String,
    /// The signed note.
    pub note: String,
}

/// The expected content of an object, computed at its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The hash and length of its bytes.
    pub digest: Digest,
    /// The checksums to expect from a store that computes its own.
    pub checksums: Checksums,
}

/// The expected content of each object that this run delivered.
#[derive(Debug, Default)]
pub struct Ledger {
    expected: Mutex<HashMap<String, Expected>>,
    /// The stage, or instance, that delivers each object.
    claims: Mutex<HashMap<String, String>>,
}

impl Ledger {
    /// Records the expected content of an object.
    pub fn note(&self, uri: &str, expected: Expected) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(uri.to_owned(), expected);
    }

    /// Claims an object for a stage and returns the stage that owns it. The first claim wins: a second delivery to the
    /// same key would replace the object.
    pub fn claim(&self, uri: &str, key: &str) -> String {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.entry(uri.to_owned()).or_insert_with(|| key.to_owned()).clone()
    }

    /// Returns the expected content of an object.
    pub fn expected(&self, uri: &str) -> Option<Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).get(uri).cloned()
    }
}

/// Records the progress of each delivery, so that a later session of the run can resume or clean up. Each call replaces
/// the object's previous state and is durable when it returns. If a call fails, the object must not appear.
pub trait Deliveries: Send + Sync {
    /// Call before anything is sent: from now on, a crash may leave something behind.
    fn begun(&self, uri: &str) -> Result<()>;

    /// Records an open upload that a later session can resume.
    fn opened(&self, uri: &str, open: &OpenDelivery) -> Result<()>;

    /// Records that the object has no open upload any more.
    fn closed(&self, uri: &str) -> Result<()>;

    /// Whether later sessions can read these records.
    fn are_kept(&self) -> bool;

    /// Call just before the object appears.
    fn pending(&self, uri: &str, pending: &PendingObject) -> Result<()>;

    /// Records that the object was found lost or damaged. The next attempt delivers it anew.
    fn disproved(&self, uri: &str) -> Result<()>;

    /// What earlier attempts to deliver the object left behind.
    fn left(&self, uri: &str) -> Option<Unfinished>;
}

/// A delivery that ended before it was complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// When it began. Only uploads that began since then can be its leftovers.
    pub since: Timestamp,
    /// The properties of the object, if it was about to appear. Several attempts leave several entries, newest last.
    pub coming: Vec<PendingObject>,
    /// The properties of objects that were found lost or damaged. They are the run's own, and it may replace them.
    pub disproved: Vec<PendingObject>,
    /// An open upload that can be resumed.
    pub open: Option<OpenUpload>,
}

/// An open upload that can be resumed, and its object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OpenDelivery {
    /// The name of the store in `stores`.
    pub store: String,
    /// The key of the object in the store.
    pub key: String,
    /// The upload.
    pub upload: OpenUpload,
}

/// Delivers messages, and keeps undelivered ones for later.
pub trait Notifier: Send + Sync {
    /// Keeps messages, each with its channel, before the first of them is delivered: none is lost with this process.
    fn keep(&self, messages: &[(&str, &Message)]);

    /// Delivers a message to one channel, once. Returns the channel's evidence. The outcome is recorded.
    fn deliver(&self, channel: &str, message: &Message) -> Result<String>;
}

/// The stores that a pipeline names.
#[derive(Debug, Default)]
pub struct Places {
    /// Stores by name.
    pub stores: BTreeMap<String, Arc<dyn Store>>,
    /// Stores that are declared and not open: no stage of this run needs them, and they use secrets that were not read.
    pub unopened: BTreeSet<String>,
}

/// What all stages of a run share.
pub struct Shared {
    /// The run's id.
    pub run: String,
    /// The number of the session: how often the run was started or resumed.
    pub session: u32,
    /// The pipeline's name.
    pub pipeline: String,
    /// What the host is called in messages.
    pub host: String,
    /// The folder of the pipeline file.
    pub base: PathBuf,
    /// The state folder. No archive may include it: it holds the key of the audit log.
    pub state: PathBuf,
    /// The path of `tl` itself, for child processes.
    pub program: PathBuf,
    /// The stores.
    pub places: Places,
    /// Delivers messages.
    pub notifier: Arc<dyn Notifier>,
    /// The audit log.
    pub recorder: Arc<dyn Recorder>,
    /// The expected content of delivered objects.
    pub ledger: Ledger,
    /// The progress of deliveries.
    pub deliveries: Arc<dyn Deliveries>,
    /// Masks secrets.
    pub masker: Masker,
    /// Secrets; settings hold only their placeholders.
    pub secrets: Arc<Secrets>,
}

/// Everything that one attempt at a stage works with.
pub struct Context {
    /// The stage's name.
    pub stage: String,
    /// The label of its instance, if the stage has a matrix.
    pub instance: Option<String>,
    /// Identifies the stage, or its instance, within the run.
    pub key: String,
    /// Identifies a message of the stage within the run. It stays the same across attempts, and in a later session that
    /// repeats an unfinished stage. A stage that is redone after it finished gets a new one.
    pub message: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// What all stages share.
    pub shared: Arc<Shared>,
    /// The folder of the file that declares the stage. Relative sources of an archive are relative to it.
    pub base: PathBuf,
    /// The uses of secrets by this attempt.
    pub uses: Uses,
    /// A folder for this attempt alone, not made yet.
    pub work: PathBuf,
    /// Cancels the attempt.
    pub cancel: Cancel,
    /// Its progress.
    pub meter: Arc<Meter>,
    /// Whether a warning makes the stage fail.
    pub fails_on_warning: bool,
    /// Set once such a warning was reported.
    pub failure_gate: Arc<FailureGate>,
    /// Receives what the stage reports.
    pub emit: Box<dyn Fn(StageNotice) + Send + Sync>,
    /// The artifacts that it may open.
    pub sources: Mutex<HashMap<ArtifactRef, Source>>,
    /// Where its own artifact goes.
    pub sink: Mutex<Option<Sink>>,
}

/// The help for a work folder that is full or read-only.
pub(in crate::stages) const MAKE_ROOM: &str =
    "make sure that the state folder is on a disk with room, and writable; then `tl run --resume`";

impl Context {
    /// Opens an artifact. A stream can be opened once.
    pub fn open(&self, artifact: &ArtifactRef) -> Result<ArtifactReader> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let source = match sources.get(artifact) {
            Some(Source::File(spool)) => Some(Source::File(spool.clone())),
            Some(Source::Stream(_)) => sources.remove(artifact),
            None => None,
        };
        let source =
            source.ok_or_else(|| Diagnostic::failure(codes::TL0605, "the artifact is not there to be read"))?;
        ArtifactReader::new(source, self.cancel.clone())
            .map_err(|error| Diagnostic::failure(codes::TL0605, "the artifact could not be opened").cause(&error))
    }

    /// The digest of an artifact, if it is known before reading. Streams have none.
    pub fn digest(&self, artifact: &ArtifactRef) -> Option<Digest> {
        match self.sources.lock().unwrap_or_else(PoisonError::into_inner).get(artifact) {
            Some(Source::File(spool)) => spool.digest(),
            _ => None,
        }
    }

    /// Opens the stage's own artifact for writing, once.
    pub fn create(&self) -> Result<(ArtifactRef, ArtifactWriter)> {
        let sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sink =
            sink.ok_or_else(|| Diagnostic::failure(codes::TL0605, "the artifact was opened for writing already"))?;
        let writer = ArtifactWriter::new(sink, self.cancel.clone()).map_err(|error| {
            Diagnostic::failure(codes::TL0605, "the artifact could not be made").cause(&error).help(MAKE_ROOM)
        })?;
        Ok((ArtifactRef::of(&self.key), writer.unless(Arc::clone(&self.failure_gate))))
    }

    /// The error of a cancelled stage. `None` if the stage was not cancelled.
    pub fn cancelled(&self) -> Option<Diagnostic> {
        self.cancel.reason().map(Diagnostic::from)
    }

    /// Reports a warning. The stage then ends as a warning, or fails if `fails_on_warning` is set.
    pub fn warn(&self, warning: Diagnostic) {
        if self.fails_on_warning {
            // Its artifact must not be delivered.
            self.failure_gate.has_warned.store(true, Ordering::SeqCst);
        }
        (self.emit)(StageNotice::Warning(warning));
    }

    /// Writes a record to the audit log. Secrets in it are masked.
    pub fn record(&self, record: Record) -> Result<()> {
        self.shared.recorder.record(record)
    }

    /// The stage and its instance, as audit records name them.
    pub fn name(&self) -> StageName {
        StageName { stage: self.stage.clone(), instance: self.instance.clone() }
    }

    /// Replaces the placeholders in a text by secrets. Records each one first, once in this attempt for each purpose.
    pub fn reveal(&self, text: &str, purpose: &'static str) -> Result<Zeroizing<String>> {
        let record = &mut |secret: &str| {
            let by = SecretUser::Attempt { name: self.name(), attempt: self.attempt };
            self.record(Record::SecretUsed { secret: secret.to_owned(), purpose: purpose.to_owned(), by })
        };
        Ok(self.shared.secrets.reveal(text, purpose, &self.uses, record)?)
    }

    /// A store by name; the static checks have seen that it is there.
    pub fn store(&self, name: &str) -> Result<&dyn Store> {
        self.shared
            .places
            .stores
            .get(name)
            .map(Arc::as_ref)
            .ok_or_else(|| Diagnostic::usage(codes::TL0403, format!("there is no store `{name}`")))
    }

    /// Delivers a message to one channel and records the outcome.
    pub fn deliver(&self, channel: &str, message: &Message) -> Result<String> {
        self.shared.notifier.deliver(channel, message)
    }
}

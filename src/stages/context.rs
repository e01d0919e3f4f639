use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactReader, ArtifactRef, ArtifactWriter, Doom, Sink, Source};
use crate::audit::{Record, StageName};
use crate::channels::Message;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Stream;
use crate::storage::{Checksums, OpenUpload, PendingObject, Store};
use crate::value::{Cancel, Digest, Masker};

/// How far an attempt is. Read by the dispatcher, written by the stage.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
}

impl Meter {
    /// More bytes were handled.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// What a stage says while it runs.
#[derive(Debug)]
pub enum Told {
    /// A child wrote a line.
    Line(Stream, String),
    /// Something worth knowing.
    Warning(Diagnostic),
}

/// Writes to the audit log.
pub trait Recorder: Send + Sync {
    /// Writes a record. It is on the disk when this returns, so an intent comes before the act.
    fn record(&self, record: Record) -> Result<()>;

    /// Signs the log as it is.
    fn checkpoint(&self) -> Result<Checkpoint>;
}

/// A signed state of the log.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// How many records it covers.
    pub size: u64,
    /// Their Merkle root, base64.
    pub root: String,
    /// The signed note.
    pub note: String,
}

/// What an object must be, computed at its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The hash and the length of its bytes.
    pub digest: Digest,
    /// What a store must say of them that computes checksums itself.
    pub checksums: Checksums,
}

/// What was computed at the source of each object that this run delivered.
#[derive(Debug, Default)]
pub struct Ledger {
    expected: Mutex<HashMap<String, Expected>>,
    /// Which stage, or instance of one, delivers each object.
    claims: Mutex<HashMap<String, String>>,
}

impl Ledger {
    /// Notes what an object must be.
    pub fn note(&self, uri: &str, expected: Expected) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(uri.to_owned(), expected);
    }

    /// Says who delivers an object: the first one that asked, as another one would take its place.
    pub fn claim(&self, uri: &str, key: &str) -> String {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.entry(uri.to_owned()).or_insert_with(|| key.to_owned()).clone()
    }

    /// What an object must be.
    pub fn expected(&self, uri: &str) -> Option<Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).get(uri).cloned()
    }
}

/// Puts on record what becomes of each object on its way, so that a later session of the run can tell. What is said of an
/// object takes the place of what was said of it before; each is durable when it returns, and where it fails, the object
/// does not appear.
pub trait Deliveries: Send + Sync {
    /// From now on something of the object may be left behind.
    fn begun(&self, uri: &str) -> Result<()>;

    /// An upload of the object is open, and a later session can go on with it.
    fn opened(&self, uri: &str, open: &OpenDelivery) -> Result<()>;

    /// No such upload of the object is open any more.
    fn closed(&self, uri: &str) -> Result<()>;

    /// Whether later sessions get to know any of it.
    fn are_kept(&self) -> bool;

    /// The object is about to appear.
    fn coming(&self, uri: &str, coming: &PendingObject) -> Result<()>;

    /// What was said of an object before this attempt to deliver it.
    fn left(&self, uri: &str) -> Option<Unfinished>;
}

/// An object that was on its way when the attempt to deliver it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Since when something of it may be left.
    pub since: Timestamp,
    /// What tells it apart, if it was about to appear; of several attempts, the last one's at the end.
    pub coming: Vec<PendingObject>,
    /// An upload of it that can go on.
    pub open: Option<OpenUpload>,
}

/// An upload that can go on, and where.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OpenDelivery {
    /// The store, by the name it has in `stores`.
    pub store: String,
    /// The name of the object in the store.
    pub key: String,
    /// Which.
    pub upload: OpenUpload,
}

/// Delivers messages, and keeps those that were not delivered.
pub trait Notifier: Send + Sync {
    /// Delivers a message to one channel, once; returns how that is known. What comes of it is on record.
    fn deliver(&self, channel: &str, message: &Message) -> Result<String>;
}

/// The places that a pipeline names.
#[derive(Debug, Default)]
pub struct Places {
    /// Stores by name.
    pub stores: BTreeMap<String, Arc<dyn Store>>,
}

/// What is the same for every stage of a run.
pub struct Shared {
    /// The run's id.
    pub run: String,
    /// How often it was started or resumed.
    pub session: u32,
    /// The pipeline's name.
    pub pipeline: String,
    /// The folder of the pipeline file.
    pub base: PathBuf,
    /// The state folder, which no archive holds: the key of the audit log lies in it.
    pub state: PathBuf,
    /// The program `tl` itself, for children.
    pub program: PathBuf,
    /// Stores.
    pub places: Places,
    /// The way of messages to channels.
    pub notifier: Arc<dyn Notifier>,
    /// The audit log.
    pub recorder: Arc<dyn Recorder>,
    /// What objects must be.
    pub ledger: Ledger,
    /// What becomes of them on their way.
    pub deliveries: Arc<dyn Deliveries>,
    /// Hides secrets.
    pub masker: Masker,
}

/// What one attempt at one stage has in its hands.
pub struct Context {
    /// The stage's name.
    pub stage: String,
    /// Which of its instances, as people call it.
    pub instance: Option<String>,
    /// Names the stage, or its instance, among all of the run.
    pub key: String,
    /// Names a message of it among all of the run: the same for each attempt, and for a later session that does what another
    /// one did not end. What is done again says something new.
    pub message: String,
    /// Counted from 1.
    pub attempt: u32,
    /// What all stages share.
    pub shared: Arc<Shared>,
    /// What relative sources of an archive are relative to: the folder of the file that names them.
    pub base: PathBuf,
    /// A folder for this attempt alone, not made yet.
    pub work: PathBuf,
    /// When to stop.
    pub cancel: Cancel,
    /// How far it is.
    pub meter: Arc<Meter>,
    /// Whether something worth knowing is a failure of the stage.
    pub fails_on_warning: bool,
    /// Whether there was something.
    pub doom: Arc<Doom>,
    /// Takes what the stage says.
    pub tell: Box<dyn Fn(Told) + Send + Sync>,
    /// Artifacts that it may open.
    pub sources: Mutex<HashMap<ArtifactRef, Source>>,
    /// Where its own artifact goes.
    pub sink: Mutex<Option<Sink>>,
}

/// What to do where the work folder takes nothing more.
pub(super) const MAKE_ROOM: &str =
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

    /// What an artifact is, where that is known before it is read: not of a stream.
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
        Ok((ArtifactRef::of(&self.key), writer.unless(Arc::clone(&self.doom))))
    }

    /// The error of a stage that was cancelled, if it was.
    pub fn cancelled(&self) -> Option<Diagnostic> {
        self.cancel.reason().map(Diagnostic::from)
    }

    /// Says something worth knowing; the stage will end as a warning.
    pub fn warn(&self, warning: Diagnostic) {
        if self.fails_on_warning {
            // What it gives must not be delivered.
            self.doom.is_sealed.store(true, Ordering::SeqCst);
        }
        (self.tell)(Told::Warning(warning));
    }

    /// Writes a record to the audit log. Secrets in it are masked.
    pub fn record(&self, record: Record) -> Result<()> {
        self.shared.recorder.record(record)
    }

    /// The stage, and its instance, as records name them.
    pub fn name(&self) -> StageName {
        StageName { stage: self.stage.clone(), instance: self.instance.clone() }
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

    /// Delivers a message to one channel, and puts on record what came of it.
    pub fn deliver(&self, channel: &str, message: &Message) -> Result<String> {
        self.shared.notifier.deliver(channel, message)
    }
}

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::artifact::ArtifactRef;
use super::object_lock::ObjectLock;
use super::reading::Metered;
use super::{Context, Delivery, Effect, Expected, Findings, Flow, Known, OpenDelivery, Shared, Stage, StageError};
use crate::audit::Record;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Did;
use crate::storage::{
    Body, Checksums, Delivered, Error, Lock, ObjectId, OpenUpload, PendingObject, Resume, ResumedUpload, Store,
    UploadJournal, UploadOptions,
};
use crate::value::{Cancel, Digest, ObjectKey, parse_sha256, shell_expansion};

/// Settings of `upload`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Upload {
    /// What to deliver.
    pub(super) artifact: ArtifactRef,
    /// The store, by the name it has in `stores`.
    #[schemars(extend("x-tl-type" = "store"))]
    pub(super) store: String,
    /// The name of the object in the store.
    #[schemars(length(min = 1))]
    pub(super) key: String,
    /// Replace an object that is there already.
    #[serde(default)]
    pub(super) overwrite: bool,
    /// Go on where an attempt stopped, also after kill -9 (`tl run --resume`): what the store has and confirms is not sent
    /// again. The artifact then waits in a file of the state folder. A store that takes a large object in one piece, such as
    /// a directory, starts over. The time of `object-lock` counts from the first attempt.
    #[serde(default)]
    pub(super) resume: bool,
    /// Protect it from removal; where the store cannot, nothing is delivered.
    pub(super) object_lock: Option<ObjectLock>,
}

/// An object in a store.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Object")]
pub struct ObjectRef {
    /// The store, by the name it has in `stores`.
    pub store: String,
    /// The name of the object in the store.
    pub key: String,
    /// Names the object for people and tools.
    pub uri: String,
    /// Its length in bytes.
    pub size: u64,
    /// `sha256:` and the hash of its bytes.
    pub digest: String,
    /// The version, where the store keeps versions.
    pub version_id: Option<String>,
    /// Until when it cannot be removed, where the store locks objects.
    pub lock_until: Option<String>,
    /// What the store must say of it, where it computes checksums itself.
    #[serde(default)]
    pub checksums: Checksums,
}

impl ObjectRef {
    fn new(store: &str, key: &str, uri: String, delivered: &Delivered) -> Self {
        Self {
            store: store.to_owned(),
            key: key.to_owned(),
            uri,
            size: delivered.digest.size,
            digest: delivered.digest.to_string(),
            version_id: delivered.version.clone(),
            lock_until: locked_until(delivered.lock),
            checksums: delivered.checksums.clone(),
        }
    }

    /// Store and key of an object reference in settings, if present.
    pub fn place(object: &Json) -> Option<(&Json, &Json)> {
        object.get("store").zip(object.get("key"))
    }

    /// Summarises the delivery.
    pub(super) fn summary(&self) -> Did {
        let size = Some(self.size);
        Did { bytes: size, delivered: size, uri: Some(self.uri.clone()), ..Did::default() }
    }

    /// The expected content, according to the reference. `None` if its digest is malformed.
    pub fn expected(&self) -> Option<Expected> {
        let digest = Digest { sha256: parse_sha256(&self.digest)?, size: self.size };
        let mut checksums = self.checksums.clone();
        checksums.insert("sha256".to_owned(), digest.hex());
        Some(Expected { digest, checksums })
    }
}

/// Outputs of `upload`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// What was delivered.
    pub(super) object: ObjectRef,
}

impl Stage for Upload {
    const NAME: &'static str = "upload";
    const ABOUT: &'static str = "delivers an artifact to a store: the object is there whole, or not at all";
    const FLOW: Flow = Flow::Sink;
    const EFFECTS: &'static [Effect] = &[Effect::Delivers(Delivery {
        store: "store",
        key: "key",
        overwrite: Some("overwrite"),
        lock: Some("object-lock"),
        resume: Some("resume"),
        object: "object",
    })];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let store = context.store(&self.store)?;
        let key = parse_key(&self.key)?;
        let uri = store.uri(&key);
        let first = context.shared.ledger.claim(&uri, &context.key);
        if first != context.key {
            let message = format!("`{first}` of this run delivers to `{uri}` already, and one would replace the other");
            return Err(Diagnostic::failure(codes::TL0675, message).help("give each its own `key`").into());
        }
        let Earlier { delivered, is_disproved, resumed } = self.earlier(context, store, &key)?;
        let digest = context.digest(&self.artifact);
        if let Some((delivered, ordered)) = &delivered
            && digest == Some(delivered.digest)
            && self.is_locked_as_asked(delivered.lock, *ordered)?
        {
            if let Some(Err(error)) = resumed.map(|resumed| store.abort(&key, &resumed.upload)) {
                context.warn(Diagnostic::from(error).as_warning());
            }
            return Ok(self.delivered(context, uri, delivered, delivered.digest)?);
        }
        let ordered = Timestamp::now();
        let lock = self.lock(ordered)?;
        // Without a journal no later session could find the parts, so none may be left.
        let can_resume = self.resume && context.shared.deliveries.are_kept();
        let is_open = AtomicBool::new(resumed.is_some());
        let resume = digest.filter(|_| can_resume).map(|digest| Resume { digest, earlier: resumed });
        let mut body = Metered { reader: context.open(&self.artifact)?, context };
        // An earlier attempt of this run may have delivered the object unrecorded, or damaged. This one may replace it.
        let overwrite = self.overwrite || delivered.is_some() || is_disproved;
        context.record(Record::UploadIntent {
            name: context.name(),
            uri: uri.clone(),
            overwrite,
            lock_until: locked_until(lock),
        })?;
        let journal = DeliveryRecord {
            context,
            uri: &uri,
            upload: &self,
            is_open,
            parts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        let options = UploadOptions { overwrite, lock, ordered, resume, scratch: &context.work };
        let uploaded = store.upload(&key, &mut body, &options, &journal, &context.cancel);
        journal.record_reused()?;
        let delivered = match uploaded {
            Ok(delivered) => delivered,
            Err(error) => {
                let is_left_open = matches!(error, Error::LeftOpen { .. });
                // Clears only this attempt's upload. An older one that could not be aborted stays on record.
                if !is_left_open && journal.is_open.load(Ordering::SeqCst) {
                    context.shared.deliveries.closed(&uri)?;
                }
                let mut error = Diagnostic::from(error);
                if is_left_open && options.resume.is_some() {
                    // A new run would abort the upload.
                    error = error.help(format!("`tl run --resume {}` goes on with its parts", context.shared.run));
                }
                context.record(Record::UploadFailed { name: context.name(), uri, error: error.one_line() })?;
                let Err(reason) = context.cancel.check() else { return Err(error.into()) };
                if is_left_open {
                    context.warn(error);
                }
                return Err(reason.into());
            }
        };
        // `verify` compares with the digest of the source, not with what the store claims to have written. Otherwise a
        // faulty upload would be compared with its own mistake.
        let source = body.digest().unwrap_or(delivered.digest);
        Ok(self.delivered(context, uri, &delivered, source)?)
    }

    fn check(with: &Known<'_>, found: &mut Findings) {
        check_key(with, found);
        if let Some(lock) = with.get("object-lock") {
            ObjectLock::check(&lock, found);
        }
    }

    fn summary(Outputs { object }: &Outputs) -> Did {
        object.summary()
    }

    fn still_holds(outputs: &Json, key: &str, shared: &Shared, cancel: &Cancel) -> Result<bool> {
        let Ok(object) = ObjectRef::deserialize(&outputs["object"]) else { return Ok(false) };
        let (Some(store), Some(expected)) = (shared.places.stores.get(&object.store), object.expected()) else {
            return Ok(false);
        };
        // Claims the object, so that no other stage of this run replaces it.
        if !still_there(&object, store.as_ref(), cancel)? || shared.ledger.claim(&object.uri, key) != key {
            return Ok(false);
        }
        shared.ledger.note(&object.uri, expected);
        Ok(true)
    }
}

/// What earlier attempts of the same run left.
#[derive(Default)]
struct Earlier {
    /// A delivered object, and when its upload was requested.
    delivered: Option<(Delivered, Timestamp)>,
    /// Whether the object in the store is one of this run that was found damaged.
    is_disproved: bool,
    /// An open upload that can be resumed.
    resumed: Option<ResumedUpload>,
}

impl Upload {
    fn lock(&self, now: Timestamp) -> Result<Option<Lock>> {
        self.object_lock.as_ref().map(|lock| lock.lock(now)).transpose()
    }

    /// Finds what earlier attempts of the same run left of the object, and discards what cannot be resumed.
    fn earlier(&self, context: &Context, store: &dyn Store, key: &ObjectKey) -> Result<Earlier> {
        let uri = store.uri(key);
        let Some(left) = context.shared.deliveries.left(&uri) else { return Ok(Earlier::default()) };
        let cancel = &context.cancel;
        let failed = |error: Error| context.cancelled().unwrap_or_else(|| error.into());
        let resumed = match &left.open {
            Some(open) if self.can_resume(context, open)? => store.resume(key, open, cancel).map_err(failed)?,
            _ => None,
        };
        // Clean up before looking for the object. An upload that was aborted, or that turned out to be complete, cannot
        // make the object appear later.
        if resumed.is_none() {
            let aborted = left.open.as_ref().map_or(Ok(()), |open| store.abort(key, open));
            if let Err(error) = aborted.and_then(|()| store.discard_unfinished(key, left.since, cancel)) {
                context.cancel.check()?;
                context.warn(Diagnostic::from(error).as_warning());
            } else if left.open.is_some() {
                context.shared.deliveries.closed(&uri)?;
            }
        }
        for pending in left.coming.iter().rev() {
            if let Some(delivered) = store.recover(key, pending, cancel).map_err(failed)? {
                return Ok(Earlier { delivered: Some((delivered, pending.ordered)), resumed, ..Earlier::default() });
            }
        }
        let is_own = |own: bool, pending| Ok(own || store.is_own(key, pending, cancel)?);
        let is_disproved = left.disproved.iter().try_fold(false, is_own).map_err(failed)?;
        Ok(Earlier { delivered: None, is_disproved, resumed })
    }

    /// Whether an open upload is of the same artifact and has the lock that the stage asks for.
    fn can_resume(&self, context: &Context, open: &OpenUpload) -> Result<bool> {
        let is_over = |lock: Lock| lock.retention.is_some_and(|(_, until)| until <= Timestamp::now());
        Ok(self.resume
            && context.digest(&self.artifact) == Some(open.digest)
            && self.lock(open.ordered)? == open.lock
            && !open.lock.is_some_and(is_over))
    }

    /// Whether an object's lock is the one that the stage asks for. The file may have changed since the upload.
    fn is_locked_as_asked(&self, found: Option<Lock>, ordered: Timestamp) -> Result<bool> {
        let Some(asked) = self.lock(ordered)? else { return Ok(true) };
        let found = found.unwrap_or(Lock { retention: None, legal_hold: false });
        let is_kept = match (asked.retention, found.retention) {
            (None, _) => true,
            (Some(_), None) => false,
            // The clock was read twice, a moment apart.
            (Some((mode, until)), Some((found, found_until))) => {
                mode == found && found_until.as_second() + 1 >= until.as_second()
            }
        };
        Ok(is_kept && (found.legal_hold || !asked.legal_hold))
    }

    /// Records the delivery, and the content that later stages must find in the store.
    fn delivered(&self, context: &Context, uri: String, delivered: &Delivered, source: Digest) -> Result<Outputs> {
        let expected = Expected { digest: source, checksums: delivered.checksums.clone() };
        context.shared.ledger.note(&uri, expected);
        context.record(Record::UploadDone {
            name: context.name(),
            uri: uri.clone(),
            size: delivered.digest.size,
            sha256: delivered.digest.hex(),
            version: delivered.version.clone(),
            lock_until: locked_until(delivered.lock),
        })?;
        if self.resume {
            context.shared.deliveries.closed(&uri)?;
        }
        Ok(Outputs { object: ObjectRef::new(&self.store, &self.key, uri, delivered) })
    }
}

/// Journals the steps of one upload.
struct DeliveryRecord<'a> {
    context: &'a Context,
    uri: &'a str,
    upload: &'a Upload,
    /// Whether a resumable upload is open.
    is_open: AtomicBool,
    /// The number of parts that an earlier attempt had sent already.
    parts: AtomicU64,
    /// The bytes of those parts.
    bytes: AtomicU64,
}

impl DeliveryRecord<'_> {
    fn record_reused(&self) -> Result<()> {
        let (parts, bytes) = (self.parts.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst));
        let (name, uri) = (self.context.name(), self.uri.to_owned());
        let resumed = Record::UploadResumed { name, uri, parts, bytes };
        if parts == 0 { Ok(()) } else { self.context.record(resumed) }
    }

    fn unless_failed(&self, recorded: Result<()>) -> Result<(), Error> {
        recorded.map_err(|error| Error::Unrecorded { uri: self.uri.to_owned(), source: error.one_line().into() })
    }
}

impl UploadJournal for DeliveryRecord<'_> {
    fn begun(&self) -> Result<(), Error> {
        self.unless_failed(self.context.shared.deliveries.begun(self.uri))
    }

    fn opened(&self, upload: &OpenUpload) -> Result<(), Error> {
        let Upload { store, key, .. } = self.upload;
        let open = OpenDelivery { store: store.clone(), key: key.clone(), upload: upload.clone() };
        self.unless_failed(self.context.shared.deliveries.opened(self.uri, &open))?;
        self.is_open.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn reused(&self, bytes: u64) {
        self.parts.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn pending(&self, object: &PendingObject) -> Result<(), Error> {
        self.unless_failed(self.context.shared.deliveries.pending(self.uri, object))
    }
}

/// Whether a delivered object is unchanged: same version, size and checksums. For an object without checksums, a
/// directory reads the bytes; other stores answer no.
fn still_there(object: &ObjectRef, store: &dyn Store, cancel: &Cancel) -> Result<bool> {
    let id = ObjectId { key: parse_key(&object.key)?, version: object.version_id.clone() };
    let Some(expected) = object.expected() else { return Ok(false) };
    let stat = match store.stat(&id, cancel) {
        Ok(Some(stat)) if stat.size == object.size => stat,
        Ok(_) | Err(Error::Foreign { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let kept: Vec<bool> =
        stat.checksums.iter().filter_map(|(name, kept)| Some(expected.checksums.get(name)? == kept)).collect();
    if kept.is_empty() && id.version.is_none() {
        let Expected { digest, checksums } = expected;
        let pending = PendingObject { token: None, digest, checksums, lock: None, ordered: Timestamp::now() };
        return Ok(store.recover(&id.key, &pending, cancel)?.is_some());
    }
    Ok(kept.into_iter().all(|same| same))
}

fn locked_until(lock: Option<Lock>) -> Option<String> {
    lock.and_then(|lock| lock.retention).map(|(_, until)| until.to_string())
}

/// Checks a literal key. The schema reports an empty one.
pub(super) fn check_key(with: &Known<'_>, found: &mut Findings) {
    let Some(key) = with.get("key") else { return };
    let Some(text) = key.text().filter(|text| !text.is_empty()) else { return };
    let of_shell = || Some(format!("no shell replaces `{}` here: write an expression", shell_expansion(text)?));
    if let Some(reason) = text.parse::<ObjectKey>().err().map(|error| error.to_string()).or_else(of_shell) {
        found.at_value(&key, Diagnostic::usage(codes::TL0205, reason));
    }
}

/// Returns the key, or what is wrong with it. A key may come from an expression, so only the run can check it.
pub(super) fn parse_key(key: &str) -> Result<ObjectKey> {
    ObjectKey::from_str(key).map_err(|error| Diagnostic::failure(codes::TL0637, error.to_string()))
}

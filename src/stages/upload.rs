use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::artifact::ArtifactRef;
use super::reading::Metered;
use super::{Context, Expected, Flow, OpenDelivery, Shared, Stage};
use crate::audit::Record;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::storage::{
    Body, Checksums, Coming, Error, Lock, LockMode, OpenUpload, Order, Reopened, Resume, Stopped, Store, Stored,
    Witness,
};
use crate::value::{Digest, ObjectKey, PositiveDuration, parse_sha256};

/// Settings of `upload`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Upload {
    /// What to deliver.
    artifact: ArtifactRef,
    /// The store, by the name it has in `stores`.
    #[schemars(extend("x-tl-type" = "store"))]
    store: String,
    /// The name of the object in the store.
    #[schemars(length(min = 1))]
    key: String,
    /// Replace an object that is there already.
    #[serde(default)]
    overwrite: bool,
    /// Go on where an attempt stopped, also after kill -9 (`tl run --resume`): what the store has and confirms is not sent
    /// again. The artifact then waits in a file of the state folder. A store that takes a large object in one piece, such as
    /// a directory, starts over. The time of `object-lock` counts from the first attempt.
    #[serde(default)]
    resume: bool,
    /// Protect it from removal; where the store cannot, nothing is delivered.
    object_lock: Option<ObjectLock>,
}

/// How an object is protected from removal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ObjectLock {
    /// Who may remove it before its time: `governance` somebody with a special permission, `compliance` nobody.
    mode: Option<LockMode>,
    /// For how long from now.
    retain_for: Option<PositiveDuration>,
    /// Until somebody lifts it, whatever the time.
    #[serde(default)]
    legal_hold: bool,
}

impl ObjectLock {
    fn lock(&self, now: Timestamp) -> Result<Lock> {
        let wrong = |message: &str| Diagnostic::usage(codes::TL0656, message).help(LOCK_HELP);
        if let Some(problem) = lock_problem(self.mode.is_some(), self.retain_for.is_some(), self.legal_hold) {
            return Err(wrong(problem));
        }
        let retention = match (self.mode, self.retain_for) {
            (Some(mode), Some(time)) => {
                // S3 counts whole seconds; never less than was asked for.
                let until = now.checked_add(SignedDuration::from_secs(1)).and_then(|t| t.checked_add(time.get()));
                let until = until.ok().and_then(|until| Timestamp::from_second(until.as_second()).ok());
                Some((mode, until.ok_or_else(|| wrong("`retain-for` is too long"))?))
            }
            _ => None,
        };
        Ok(Lock { retention, legal_hold: self.legal_hold })
    }
}

/// What to do about an `object-lock` that says too little.
pub const LOCK_HELP: &str = "write `object-lock: { mode: compliance, retain-for: 30d }`";

/// What an `object-lock` lacks, by which of its settings are there.
pub fn lock_problem(mode: bool, retain_for: bool, legal_hold: bool) -> Option<&'static str> {
    match (mode, retain_for) {
        (true, true) => None,
        (false, false) if legal_hold => None,
        (false, false) => Some("`object-lock` says nothing"),
        _ => Some("`mode` and `retain-for` go together"),
    }
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
    fn new(store: &str, key: &str, uri: String, stored: &Stored) -> Self {
        Self {
            store: store.to_owned(),
            key: key.to_owned(),
            uri,
            size: stored.digest.size,
            digest: stored.digest.to_string(),
            version_id: stored.version.clone(),
            lock_until: locked_until(stored.lock),
            checksums: stored.checksums.clone(),
        }
    }

    /// What it must be, by what it says of itself; none where its digest is none.
    pub fn expected(&self) -> Option<Expected> {
        let digest = Digest { sha256: parse_sha256(&self.digest)?, size: self.size };
        let mut checksums = self.checksums.clone();
        checksums.insert("sha256".to_owned(), digest.hex());
        Some(Expected { digest, checksums })
    }
}

/// Outputs of `upload`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// What was delivered.
    object: ObjectRef,
}

impl Stage for Upload {
    const NAME: &'static str = "upload";
    const ABOUT: &'static str = "delivers an artifact to a store: the object is there whole, or not at all";
    const FLOW: Flow = Flow::Sink;
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs> {
        let store = context.store(&self.store)?;
        let key = parse_key(&self.key)?;
        let uri = store.uri(&key);
        let first = context.shared.ledger.claim(&uri, &context.key);
        if first != context.key {
            let message = format!("`{first}` of this run delivers to `{uri}` already, and one would replace the other");
            return Err(Diagnostic::failure(codes::TL0675, message).help("give each its own `key`"));
        }
        let Left { own, reopened } = self.left(context, store, &key)?;
        let digest = context.digest(&self.artifact);
        if let Some((own, ordered)) = &own
            && digest == Some(own.digest)
            && self.is_locked_as_asked(own.lock, *ordered)?
        {
            if let Some(Err(error)) = reopened.map(|reopened| store.close(&key, &reopened.upload)) {
                context.warn(Diagnostic::from(error).as_warning());
            }
            return self.delivered(context, uri, own, own.digest);
        }
        let ordered = Timestamp::now();
        let lock = self.lock(ordered)?;
        // Where later sessions get to know nothing, nothing is left for them.
        let can_resume = self.resume && context.shared.deliveries.are_kept();
        let is_open = AtomicBool::new(reopened.is_some());
        let resume = digest.filter(|_| can_resume).map(|digest| Resume { digest, left: reopened });
        let mut body = Metered { reader: context.open(&self.artifact)?, context };
        // What an earlier attempt of the same run delivered, and nobody counts on, is not in the way of this one.
        let overwrite = self.overwrite || own.is_some();
        context.record(Record::UploadIntent {
            name: context.name(),
            uri: uri.clone(),
            overwrite,
            lock_until: locked_until(lock),
        })?;
        let witness =
            OnRecord { context, uri: &uri, upload: &self, is_open, parts: AtomicU64::new(0), bytes: AtomicU64::new(0) };
        let stopped = context.cancel.as_question();
        let order = Order { overwrite, lock, ordered, resume, scratch: &context.work, stopped, witness: &witness };
        let put = store.put(&key, &mut body, &order);
        witness.say_what_was_kept()?;
        let stored = match put {
            Ok(stored) => stored,
            Err(error) => {
                let is_left_open = matches!(error, Error::LeftOpen { .. });
                // One that could not be taken back before is not meant.
                if !is_left_open && witness.is_open.load(Ordering::SeqCst) {
                    context.shared.deliveries.closed(&uri)?;
                }
                let mut error = Diagnostic::from(error);
                if is_left_open && order.resume.is_some() {
                    // A new run would take the parts back.
                    error = error.help(format!("`tl run --resume {}` goes on with its parts", context.shared.run));
                }
                context.record(Record::UploadFailed { name: context.name(), uri, error: error.one_line() })?;
                let Err(stopped) = context.cancel.check() else { return Err(error) };
                if is_left_open {
                    context.warn(error);
                }
                return Err(stopped.into());
            }
        };
        // What verification compares with is the source's own digest, not what the store says it wrote.
        let source = body.digest().unwrap_or(stored.digest);
        self.delivered(context, uri, &stored, source)
    }

    fn take_up(outputs: &Json, key: &str, shared: &Shared, stopped: &Stopped) -> Result<bool> {
        let Ok(object) = ObjectRef::deserialize(&outputs["object"]) else { return Ok(false) };
        let (Some(store), Some(expected)) = (shared.places.stores.get(&object.store), object.expected()) else {
            return Ok(false);
        };
        // Nothing else of this run may replace it.
        if !still_there(&object, store.as_ref(), stopped)? || shared.ledger.claim(&object.uri, key) != key {
            return Ok(false);
        }
        shared.ledger.note(&object.uri, expected);
        Ok(true)
    }
}

/// What an earlier attempt of the same run left of an object.
#[derive(Default)]
struct Left {
    /// What it delivered, and when that was ordered.
    own: Option<(Stored, Timestamp)>,
    /// What can go on.
    reopened: Option<Reopened>,
}

impl Upload {
    fn lock(&self, now: Timestamp) -> Result<Option<Lock>> {
        self.object_lock.as_ref().map(|lock| lock.lock(now)).transpose()
    }

    /// Finds what an earlier attempt of the same run left of the object, and takes back what cannot go on.
    fn left(&self, context: &Context, store: &dyn Store, key: &ObjectKey) -> Result<Left> {
        let uri = store.uri(key);
        let Some(left) = context.shared.deliveries.left(&uri) else { return Ok(Left::default()) };
        let stopped = context.cancel.as_question();
        let or_stopped = |error: Error| context.cancelled().unwrap_or_else(|| error.into());
        let reopened = match &left.open {
            Some(open) if self.goes_on(context, open)? => store.reopen(key, open, &stopped).map_err(or_stopped)?,
            _ => None,
        };
        // First: what is taken back, or was complete when it was asked for its parts, cannot appear later.
        if reopened.is_none() {
            let closed = left.open.as_ref().map_or(Ok(()), |open| store.close(key, open));
            if let Err(error) = closed.and_then(|()| store.clear(key, left.since, &stopped)) {
                context.cancel.check()?;
                context.warn(Diagnostic::from(error).as_warning());
            } else if left.open.is_some() {
                context.shared.deliveries.closed(&uri)?;
            }
        }
        for coming in left.coming.iter().rev() {
            if let Some(own) = store.own(key, coming, &stopped).map_err(or_stopped)? {
                return Ok(Left { own: Some((own, coming.ordered)), reopened });
            }
        }
        Ok(Left { own: None, reopened })
    }

    /// Whether an open upload is of the same artifact, and the object will be locked as the stage asks for.
    fn goes_on(&self, context: &Context, open: &OpenUpload) -> Result<bool> {
        let is_over = |lock: Lock| lock.retention.is_some_and(|(_, until)| until <= Timestamp::now());
        Ok(self.resume
            && context.digest(&self.artifact) == Some(open.digest)
            && self.lock(open.ordered)? == open.lock
            && !open.lock.is_some_and(is_over))
    }

    /// Whether an object is locked as the stage asks for: the file may ask for more than when it was ordered.
    fn is_locked_as_asked(&self, found: Option<Lock>, ordered: Timestamp) -> Result<bool> {
        let Some(asked) = self.lock(ordered)? else { return Ok(true) };
        let found = found.unwrap_or(Lock { retention: None, legal_hold: false });
        let is_kept = match (asked.retention, found.retention) {
            (None, _) => true,
            (Some(_), None) => false,
            // A moment lies between the two readings of the clock.
            (Some((mode, until)), Some((found, found_until))) => {
                mode == found && found_until.as_second() + 1 >= until.as_second()
            }
        };
        Ok(is_kept && (found.legal_hold || !asked.legal_hold))
    }

    /// The object is there: says so on record, and to those who verify it.
    fn delivered(&self, context: &Context, uri: String, stored: &Stored, source: Digest) -> Result<Outputs> {
        let expected = Expected { digest: source, checksums: stored.checksums.clone() };
        context.shared.ledger.note(&uri, expected);
        context.record(Record::UploadDone {
            name: context.name(),
            uri: uri.clone(),
            size: stored.digest.size,
            sha256: stored.digest.hex(),
            version: stored.version.clone(),
            lock_until: locked_until(stored.lock),
        })?;
        if self.resume {
            context.shared.deliveries.closed(&uri)?;
        }
        Ok(Outputs { object: ObjectRef::new(&self.store, &self.key, uri, stored) })
    }
}

/// Tells the run what becomes of an object.
struct OnRecord<'a> {
    context: &'a Context,
    uri: &'a str,
    upload: &'a Upload,
    /// Whether an upload that can go on was opened, or is gone on with.
    is_open: AtomicBool,
    /// How many parts of an earlier attempt were not sent again.
    parts: AtomicU64,
    /// Their bytes.
    bytes: AtomicU64,
}

impl OnRecord<'_> {
    fn say_what_was_kept(&self) -> Result<()> {
        let (parts, bytes) = (self.parts.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst));
        if parts == 0 {
            return Ok(());
        }
        let (name, uri) = (self.context.name(), self.uri.to_owned());
        self.context.record(Record::UploadResumed { name, uri, parts, bytes })
    }

    fn unless(&self, recorded: Result<()>) -> Result<(), Error> {
        recorded.map_err(|error| Error::Unrecorded { uri: self.uri.to_owned(), source: error.one_line().into() })
    }
}

impl Witness for OnRecord<'_> {
    fn begun(&self) -> Result<(), Error> {
        self.unless(self.context.shared.deliveries.begun(self.uri))
    }

    fn opened(&self, upload: &OpenUpload) -> Result<(), Error> {
        let Upload { store, key, .. } = self.upload;
        let open = OpenDelivery { store: store.clone(), key: key.clone(), upload: upload.clone() };
        self.unless(self.context.shared.deliveries.opened(self.uri, &open))?;
        self.is_open.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn kept(&self, bytes: u64) {
        self.parts.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn coming(&self, coming: &Coming) -> Result<(), Error> {
        self.unless(self.context.shared.deliveries.coming(self.uri, coming))
    }
}

/// Whether an object that was delivered is still the same: its version, its size, and what its store says of its bytes.
/// Where that is nothing, a directory reads them; of others it is then not known.
fn still_there(object: &ObjectRef, store: &dyn Store, stopped: &Stopped) -> Result<bool> {
    let (key, version) = (parse_key(&object.key)?, object.version_id.as_deref());
    let Some(expected) = object.expected() else { return Ok(false) };
    let stat = match store.stat(&key, version, stopped) {
        Ok(Some(stat)) if stat.size == object.size => stat,
        Ok(_) | Err(Error::Foreign { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let kept: Vec<bool> =
        stat.checksums.iter().filter_map(|(name, kept)| Some(expected.checksums.get(name)? == kept)).collect();
    if kept.is_empty() && version.is_none() {
        let Expected { digest, checksums } = expected;
        let read = Coming { token: None, digest, checksums, lock: None, ordered: Timestamp::now() };
        return Ok(store.own(&key, &read, stopped)?.is_some());
    }
    Ok(kept.into_iter().all(|same| same))
}

fn locked_until(lock: Option<Lock>) -> Option<String> {
    lock.and_then(|lock| lock.retention).map(|(_, until)| until.to_string())
}

/// The key, or what is wrong with it: it may come from an expression, so only the run can tell.
pub(super) fn parse_key(key: &str) -> Result<ObjectKey> {
    ObjectKey::from_str(key).map_err(|error| Diagnostic::failure(codes::TL0637, error.to_string()))
}

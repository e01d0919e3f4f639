use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::artifact::ArtifactRef;
use super::reading::Metered;
use super::{Context, Expected, Flow, Severity, Stage};
use crate::diagnostic::{Diagnostic, Result};
use crate::storage::{Body, Checksums, Error, Lock, LockMode, Order};
use crate::value::{ObjectKey, PositiveDuration};

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
        let wrong = |message: &str| Diagnostic::usage("TL0656", message).help(LOCK_HELP);
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
            return Err(Diagnostic::failure("TL0675", message).help("give each its own `key`"));
        }
        let lock = self.object_lock.as_ref().map(|lock| lock.lock(Timestamp::now())).transpose()?;
        let mut body = Metered { reader: context.open(&self.artifact)?, context };
        let lock_until = lock.and_then(|lock| lock.retention).map(|(_, until)| until.to_string());
        // What this run itself delivered is no copy that somebody else may need.
        let overwrite = self.overwrite || context.shared.ledger.is_own(&uri);
        let data = json!({ "uri": uri, "overwrite": overwrite, "lock_until": lock_until });
        context.record("upload.intent", Severity::Info, data)?;
        let order = Order { overwrite, lock, scratch: &context.work, stopped: context.cancel.as_question() };
        let stored = match store.put(&key, &mut body, &order) {
            Ok(stored) => stored,
            Err(error) => {
                let is_left_open = matches!(error, Error::LeftOpen { .. });
                let error = Diagnostic::from(error);
                context.record("upload.failed", Severity::Error, json!({ "uri": uri, "error": error.one_line() }))?;
                let Err(stopped) = context.cancel.check() else { return Err(error) };
                if is_left_open {
                    context.warn(error);
                }
                return Err(stopped);
            }
        };
        // What verification compares with is the source's own digest, not what the store says it wrote.
        let source = body.digest().unwrap_or(stored.digest);
        context.shared.ledger.note(&uri, Expected { digest: source, checksums: stored.checksums.clone() });
        let lock_until = stored.lock.and_then(|lock| lock.retention).map(|(_, until)| until.to_string());
        let data = json!({
            "uri": uri, "size": stored.digest.size, "sha256": stored.digest.hex(), "version": stored.version,
            "lock_until": lock_until,
        });
        context.record("upload.done", Severity::Info, data)?;
        Ok(Outputs {
            object: ObjectRef {
                store: self.store,
                key: self.key,
                uri,
                size: stored.digest.size,
                digest: stored.digest.to_string(),
                version_id: stored.version,
                lock_until,
                checksums: stored.checksums,
            },
        })
    }
}

/// The key, or what is wrong with it: it may come from an expression, so only the run can tell.
pub(super) fn parse_key(key: &str) -> Result<ObjectKey> {
    ObjectKey::from_str(key).map_err(|error| Diagnostic::failure("TL0637", error.to_string()))
}

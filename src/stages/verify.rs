use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reading::read_object;
use super::upload::{ObjectRef, parse_key};
use super::{Context, Flow, Severity, Stage};
use crate::diagnostic::{Diagnostic, Kind, Result};
use crate::storage::{Error, Store};
use crate::value::{Digest, ObjectKey, parse_sha256};

/// Settings of `verify`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Verify {
    /// What to prove.
    object: ObjectRef,
    /// How thoroughly.
    #[serde(default)]
    level: Level,
}

/// How thoroughly an object is proven. Each level includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    /// It is there, in the right length.
    Presence,
    /// The digest that the store keeps for it is that of the source. Its bytes are not read.
    Checksum,
    /// Every byte is read back, and is the source's.
    #[default]
    Content,
}

/// Outputs of `verify`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The level that was reached.
    level: Level,
    /// How many bytes were read back.
    checked_bytes: u64,
}

impl Stage for Verify {
    const NAME: &'static str = "verify";
    const ABOUT: &'static str = "compares what a store holds with what was computed at the source";
    const FLOW: Flow = Flow::None;
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs> {
        let uri = self.object.uri.clone();
        match self.check(context) {
            Ok(outputs) => {
                let data = json!({ "uri": uri, "level": outputs.level, "checked_bytes": outputs.checked_bytes });
                context.record("verify.passed", Severity::Info, data)?;
                Ok(outputs)
            }
            Err(error) if error.kind == Kind::Verification => {
                context.record("verify.failed", Severity::Error, json!({ "uri": uri, "error": error.one_line() }))?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

impl Verify {
    fn check(&self, context: &Context) -> Result<Outputs> {
        let store = context.store(&self.object.store)?;
        let key = parse_key(&self.object.key)?;
        let uri = store.uri(&key);
        let expected = self.expected(context, &uri)?;
        let stat = match store.stat(&key) {
            Err(error @ Error::Foreign { .. }) => return Err(unproven("TL0640", error.to_string())),
            other => other?.ok_or_else(|| unproven("TL0640", format!("`{uri}` is gone")))?,
        };
        if stat.size != expected.size {
            let message = format!("`{uri}` has {} bytes where the source gave {}", stat.size, expected.size);
            return Err(unproven("TL0641", message));
        }
        if self.level >= Level::Checksum {
            match stat.sha256 {
                Some(kept) if kept == expected.sha256 => {}
                Some(_) => return Err(unproven("TL0642", format!("the digest kept for `{uri}` is not the source's"))),
                // Reading every byte proves more than a kept digest would have.
                None if self.level == Level::Content => {}
                None => return Err(unproven("TL0643", format!("the store keeps no digest for `{uri}`"))),
            }
        }
        let checked_bytes = if self.level == Level::Content { read_back(context, store, &key, expected)? } else { 0 };
        Ok(Outputs { level: self.level, checked_bytes })
    }

    /// What the object must be: as computed at the source in this run, else as the file says.
    fn expected(&self, context: &Context, uri: &str) -> Result<Digest> {
        let stated = parse_sha256(&self.object.digest).map(|sha256| Digest { sha256, size: self.object.size });
        match (context.shared.ledger.expected(uri), stated) {
            (Some(source), Some(stated)) if source != stated => {
                Err(unproven("TL0642", format!("what was delivered to `{uri}` is not what its source gave")))
            }
            (Some(known), _) | (None, Some(known)) => Ok(known),
            (None, None) => {
                Err(Diagnostic::failure("TL0644", "the `digest` of the object is not `sha256:` and 64 digits"))
            }
        }
    }
}

fn read_back(context: &Context, store: &dyn Store, key: &ObjectKey, expected: Digest) -> Result<u64> {
    let uri = store.uri(key);
    let mut object = match store.get(key) {
        Err(error @ (Error::NoObject { .. } | Error::Foreign { .. })) => {
            return Err(unproven("TL0640", error.to_string()));
        }
        other => other?,
    };
    let found = read_object(context, &uri, &mut object, |_| Ok(()))?;
    if found == expected {
        return Ok(found.size);
    }
    let message = format!("`{uri}` reads back as {found} where the source gave {expected}");
    Err(unproven("TL0642", message))
}

fn unproven(code: &'static str, message: String) -> Diagnostic {
    Diagnostic::new(code, Kind::Verification, message)
        .help("do not count on this object: find out what changed it, then deliver it again")
}

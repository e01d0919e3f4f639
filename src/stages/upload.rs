use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::artifact::ArtifactRef;
use super::reading::Metered;
use super::{Context, Flow, Severity, Stage};
use crate::diagnostic::{Diagnostic, Result};
use crate::storage::Body;
use crate::value::ObjectKey;

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
        let mut body = Metered { reader: context.open(&self.artifact)?, context };
        context.record("upload.intent", Severity::Info, json!({ "uri": uri, "overwrite": self.overwrite }))?;
        let written = match store.put(&key, &mut body, self.overwrite) {
            Ok(written) => written,
            Err(error) => {
                let error = Diagnostic::from(error);
                context.record("upload.failed", Severity::Error, json!({ "uri": uri, "error": error.one_line() }))?;
                return Err(context.cancel.check().err().unwrap_or(error));
            }
        };
        // What verification compares with is the source's own digest, not what the store says it wrote.
        let source = body.digest().unwrap_or(written);
        context.shared.ledger.note(&uri, source);
        let data = json!({ "uri": uri, "size": written.size, "sha256": written.hex() });
        context.record("upload.done", Severity::Info, data)?;
        Ok(Outputs {
            object: ObjectRef {
                store: self.store,
                key: self.key,
                uri,
                size: written.size,
                digest: written.to_string(),
                version_id: None,
                lock_until: None,
            },
        })
    }
}

/// The key, or what is wrong with it: it may come from an expression, so only the run can tell.
pub(super) fn parse_key(key: &str) -> Result<ObjectKey> {
    ObjectKey::from_str(key).map_err(|error| Diagnostic::failure("TL0637", error.to_string()))
}

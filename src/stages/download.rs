use std::io::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::artifact::ArtifactRef;
use super::context::MAKE_ROOM;
use super::reading::read_object;
use super::upload::parse_key;
use super::{Context, Flow, Stage, StageError};
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::storage::Error;

/// Settings of `download`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Download {
    /// The store, by the name it has in `stores`.
    #[schemars(extend("x-tl-type" = "store"))]
    store: String,
    /// The name of the object in the store.
    #[schemars(length(min = 1))]
    key: String,
    /// A version of it; the latest without one.
    version_id: Option<String>,
}

/// Outputs of `download`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The object's bytes.
    artifact: ArtifactRef,
    /// How many they are.
    bytes: u64,
}

impl Stage for Download {
    const NAME: &'static str = "download";
    const ABOUT: &'static str = "fetches an object from a store, and compares it with the digest that the store keeps";
    const FLOW: Flow = Flow::Source;
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let store = context.store(&self.store)?;
        let key = parse_key(&self.key)?;
        let uri = store.uri(&key);
        let stopped = context.cancel.as_question();
        let version = self.version_id.as_deref();
        let kept = store.stat(&key, version, &stopped)?.ok_or_else(|| Error::NoObject { uri: uri.clone() })?;
        let version = version.or(kept.version.as_deref());
        let mut object = store.get(&key, version, &stopped)?;
        let (artifact, mut writer) = context.create()?;
        let found = read_object(context, &uri, &mut object, |block| {
            writer.write_all(block).map_err(|error| write_failed(context, &error))
        })?;
        if found.size != kept.size || kept.checksums.get("sha256").is_some_and(|kept| *kept != found.hex()) {
            let message = format!("`{uri}` is not what its store keeps the digest of");
            return Err(Diagnostic::new(codes::TL0642, Kind::Verification, message)
                .help("the object was changed after it was delivered: take another copy")
                .into());
        }
        writer.finish().map_err(|error| write_failed(context, &error))?;
        Ok(Outputs { artifact, bytes: found.size })
    }
}

/// The artifact could not be written: the run was stopped, the consumer went, or the disk is full.
pub(super) fn write_failed(context: &Context, error: &std::io::Error) -> Diagnostic {
    context.cancelled().unwrap_or_else(|| {
        Diagnostic::failure(codes::TL0607, "the artifact could not be written").cause(error).help(MAKE_ROOM)
    })
}

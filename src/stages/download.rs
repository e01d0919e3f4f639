use std::io::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::artifact::ArtifactRef;
use super::kind::MAKE_ROOM;
use super::reading::read_object;
use super::upload::{check_key, parse_key};
use super::{Context, Effect, Findings, Flow, Known, Stage, StageError};
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::event::Did;
use crate::storage::{Error, ObjectId};

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
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
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
    const EFFECTS: &'static [Effect] = &[Effect::Fetches { store: "store", key: "key" }];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let store = context.store(&self.store)?;
        let key = parse_key(&self.key)?;
        let uri = store.uri(&key);
        let failed = |error: Error| context.cancelled().unwrap_or_else(|| error.into());
        let mut object = ObjectId { key, version: self.version_id };
        let kept = store.stat(&object, &context.cancel).map_err(failed)?;
        let kept = kept.ok_or_else(|| Error::NoObject { uri: uri.clone() })?;
        object.version = object.version.or_else(|| kept.version.clone());
        let mut bytes = store.open(&object, &context.cancel).map_err(failed)?;
        let (artifact, mut writer) = context.create()?;
        let found = read_object(context, &uri, &mut bytes, |block| {
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

    fn check(with: &Known<'_>, found: &mut Findings) {
        check_key(with, found);
    }

    fn summary(outputs: &Outputs) -> Did {
        Did { bytes: Some(outputs.bytes), ..Did::default() }
    }
}

/// The artifact could not be written: the run was cancelled, the consumer ended, or the disk is full.
pub(super) fn write_failed(context: &Context, error: &std::io::Error) -> Diagnostic {
    context.cancelled().unwrap_or_else(|| {
        Diagnostic::failure(codes::TL0607, "the artifact could not be written").cause(error).help(MAKE_ROOM)
    })
}

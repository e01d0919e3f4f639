use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Effect, Flow, Stage, StageError};
use crate::diagnostic::Result;

/// Settings of `audit`: none yet. Every run is recorded and signed anyway; this signs in the middle of one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Audit {}

/// Outputs of `audit`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The signed note.
    checkpoint: String,
    /// The Merkle root, base64.
    root: String,
    /// How many records it covers.
    size: u64,
}

impl Stage for Audit {
    const NAME: &'static str = "audit";
    const ABOUT: &'static str = "signs the audit log as it stands";
    const FLOW: Flow = Flow::None;
    const EFFECTS: &'static [Effect] = &[];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let checkpoint = context.shared.recorder.checkpoint()?;
        Ok(Outputs { checkpoint: checkpoint.note, root: checkpoint.root, size: checkpoint.size })
    }
}

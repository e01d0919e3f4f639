use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::Context;
use crate::diagnostic::{Diagnostic, Result};
use crate::value::kept_schema_of;

/// What a kind of stage does with data; decides which stages the engine may join into one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Gives an artifact.
    Source,
    /// Takes one and gives one.
    Filter,
    /// Takes one.
    Sink,
    /// Neither.
    None,
}

/// A kind of stage: the struct of its `with`, which is also what runs.
pub trait Stage: DeserializeOwned + JsonSchema + Send + 'static {
    /// What a file calls it.
    const NAME: &'static str;
    /// What it does, as a sentence without its subject: for plans and help.
    const ABOUT: &'static str;
    /// What it does with data.
    const FLOW: Flow;
    /// What others may use of it.
    type Outputs: Serialize + JsonSchema + 'static;

    /// Does it. Blocks; asks `context.cancel` often.
    fn run(self, context: &Context) -> Result<Self::Outputs>;
}

/// One entry of the registry.
pub struct StageKind {
    /// What a file calls it.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What it does with data.
    pub flow: Flow,
    /// The JSON Schema of its `with`.
    pub schema: fn() -> &'static Json,
    /// The JSON Schema of its outputs.
    pub outputs: fn() -> &'static Json,
    /// Runs it with a `with` whose expressions are resolved.
    pub run: fn(Json, &Context) -> Result<Json>,
}

/// The entry of a kind.
pub(super) const fn kind<S: Stage>() -> StageKind {
    StageKind {
        name: S::NAME,
        about: S::ABOUT,
        flow: S::FLOW,
        schema: kept_schema_of::<S>,
        outputs: kept_schema_of::<S::Outputs>,
        run: |with, context| {
            let stage: S = serde_json::from_value(with).map_err(|error| {
                let message = format!("the values of this `{}` do not fit", S::NAME);
                Diagnostic::failure("TL0606", message).cause(&error)
            })?;
            let outputs = stage.run(context)?;
            serde_json::to_value(outputs)
                .map_err(|error| Diagnostic::failure("TL0901", "the outputs cannot be kept").cause(&error))
        },
    }
}

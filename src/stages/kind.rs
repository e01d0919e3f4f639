use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{Context, Shared, StageError};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::value::{Cancel, kept_schema_of};

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
    fn run(self, context: &Context) -> Result<Self::Outputs, StageError>;

    /// Takes up what an earlier session of the run did, instead of doing it again: looks whether what these outputs say of
    /// the world outside still holds, and tells `shared` what the other stages of the run count on. `false` where it does
    /// not hold. `key` names the stage, or its instance. By default there is nothing outside to look at.
    fn take_up(_outputs: &Json, _key: &str, _shared: &Shared, _cancel: &Cancel) -> Result<bool> {
        Ok(true)
    }
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
    pub run: fn(Json, &Context) -> Result<Json, StageError>,
    /// Takes up what it did in an earlier session of the run, by its outputs: see [`Stage::take_up`].
    pub take_up: fn(&Json, &str, &Shared, &Cancel) -> Result<bool>,
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
                Diagnostic::failure(codes::TL0606, message).cause(&error)
            })?;
            let outputs = stage.run(context)?;
            let kept = serde_json::to_value(outputs);
            let failed = |error| Diagnostic::failure(codes::TL0901, "the outputs cannot be kept").cause(&error);
            Ok(kept.map_err(failed)?)
        },
        take_up: S::take_up,
    }
}

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{Context, Effect, Findings, Known, Shared, StageError, Survey};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Did;
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

/// The setting by which a kind takes an artifact, and the output by which it gives one. One name for all kinds: the engine
/// joins a stage and its consumer by it.
pub const ARTIFACT: &str = "artifact";

/// The name of what is no kind: a `run`, which runs a program of the user's.
pub const RUN: &str = "run";

/// A kind of stage: the struct of its `with`, which is also what runs.
pub trait Stage: DeserializeOwned + JsonSchema + Send + 'static {
    /// What a file calls it.
    const NAME: &'static str;
    /// What it does, as a sentence without its subject: for plans and help.
    const ABOUT: &'static str;
    /// What it does with data.
    const FLOW: Flow;
    /// What it does besides: what the rest of the program needs to know of it.
    const EFFECTS: &'static [Effect];

    /// What others may use of it.
    type Outputs: Serialize + DeserializeOwned + JsonSchema + 'static;

    /// Does it. Blocks; asks `context.cancel` often.
    fn run(self, context: &Context) -> Result<Self::Outputs, StageError>;

    /// Checks offline what the schema cannot say of its settings.
    fn check(_with: &Known<'_>, _found: &mut Findings) {}

    /// Counts what it would read now, if it reads files. `base` is the folder that relative paths are meant from. Fails where
    /// [`Stage::run`] would refuse the settings.
    fn preview(self, _base: &Path) -> Result<Option<Survey>> {
        Ok(None)
    }

    /// What it did, by its outputs.
    fn summary(_outputs: &Self::Outputs) -> Did {
        Did::default()
    }

    /// Whether what an earlier session of the run did, by its outputs, is still so in the world outside. If it is, tells
    /// `shared` what other stages of the run count on. `key` names the stage, or its instance. By default there is nothing
    /// outside to look at.
    fn still_holds(_outputs: &Json, _key: &str, _shared: &Shared, _cancel: &Cancel) -> Result<bool> {
        Ok(true)
    }
}

/// One entry of the registry.
#[derive(Clone, Copy)]
pub struct StageKind {
    /// What a file calls it.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What it does with data.
    pub flow: Flow,
    /// What it does besides.
    pub effects: &'static [Effect],
    /// The JSON Schema of its `with`.
    pub schema: fn() -> &'static Json,
    /// The JSON Schema of its outputs.
    pub outputs: fn() -> &'static Json,
    /// Runs it with a `with` whose expressions are resolved.
    pub run: fn(Json, &Context) -> Result<Json, StageError>,
    /// See [`Stage::check`].
    pub check: fn(&Known<'_>, &mut Findings),
    /// See [`Stage::preview`]. Settings that do not fit give none: the run reports them.
    pub preview: fn(Json, &Path) -> Result<Option<Survey>>,
    /// See [`Stage::summary`]. Outputs of another form, such as those of a stage with instances, give nothing.
    pub summary: fn(&Map<String, Json>) -> Did,
    /// See [`Stage::still_holds`].
    pub still_holds: fn(&Json, &str, &Shared, &Cancel) -> Result<bool>,
}

/// The entry of a kind.
pub(super) const fn kind<S: Stage>() -> StageKind {
    StageKind {
        name: S::NAME,
        about: S::ABOUT,
        flow: S::FLOW,
        effects: S::EFFECTS,
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
        check: S::check,
        preview: |with, base| serde_json::from_value::<S>(with).map_or(Ok(None), |stage| stage.preview(base)),
        summary: |outputs| {
            let outputs = serde_json::from_value::<S::Outputs>(Json::Object(outputs.clone()));
            outputs.map(|outputs| S::summary(&outputs)).unwrap_or_default()
        },
        still_holds: S::still_holds,
    }
}

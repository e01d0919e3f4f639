use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{Context, Effect, Findings, Known, Shared, StageError};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Did;
use crate::source::Selection;
use crate::value::{Cancel, kept_schema_of};

/// How data flows through a kind of stage. The engine uses this to join stages into one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Produces an artifact.
    Source,
    /// Reads an artifact and produces one.
    Filter,
    /// Reads an artifact.
    Sink,
    /// Uses no artifact.
    None,
}

/// The setting through which a kind reads an artifact, and the output through which it produces one. All kinds share
/// this name: the engine uses it to join a stage with its consumer.
pub const ARTIFACT: &str = "artifact";

/// The name of a `run` stage, which runs the user's own program. It is not in the registry.
pub const RUN: &str = "run";

/// A kind of stage. The implementing struct holds the settings of `with`.
pub trait Stage: DeserializeOwned + JsonSchema + Send + 'static {
    /// The name of the kind in pipeline files.
    const NAME: &'static str;
    /// What it does, as a sentence without its subject. Shown in plans and help.
    const ABOUT: &'static str;
    /// How data flows through it.
    const FLOW: Flow;
    /// What it does to data and to the outside world, as far as the rest of the program needs to know.
    const EFFECTS: &'static [Effect];

    /// The outputs that other stages may use.
    type Outputs: Serialize + DeserializeOwned + JsonSchema + 'static;

    /// Runs the stage. Blocks, and checks `context.cancel` often.
    fn run(self, context: &Context) -> Result<Self::Outputs, StageError>;

    /// Checks settings offline, beyond what the schema can express.
    fn check(_with: &Known<'_>, _found: &mut Findings) {}

    /// Checks the files that settings name: what [`Known::file`], [`Known::file_of_machine`] and [`Known::source`] return.
    fn check_files(_with: &Known<'_>, _found: &mut Findings) {}

    /// Warns of settings that are valid and probably a mistake.
    fn warn(_with: &Known<'_>, _found: &mut Findings) {}

    /// What the stage would read now, if it reads files. Relative paths are relative to `base`. Fails if [`Stage::run`] would
    /// refuse the settings.
    fn selection(self, _base: &Path) -> Result<Option<Selection>> {
        Ok(None)
    }

    /// Summarises what the stage did, from its outputs.
    fn summary(_outputs: &Self::Outputs) -> Did {
        Did::default()
    }

    /// Whether the result of an earlier session, given by its outputs, still holds in the outside world. If so, records
    /// in `shared` what other stages of the run rely on. `key` identifies the stage or its instance. The default suits
    /// kinds without effects outside.
    fn still_holds(_outputs: &Json, _key: &str, _shared: &Shared, _cancel: &Cancel) -> Result<bool> {
        Ok(true)
    }
}

/// One entry of the registry.
#[derive(Clone, Copy)]
pub struct StageKind {
    /// The name in pipeline files.
    pub name: &'static str,
    /// See [`Stage::ABOUT`].
    pub about: &'static str,
    /// See [`Stage::FLOW`].
    pub flow: Flow,
    /// See [`Stage::EFFECTS`].
    pub effects: &'static [Effect],
    /// The JSON Schema of its `with`.
    pub schema: fn() -> &'static Json,
    /// The JSON Schema of its outputs.
    pub outputs: fn() -> &'static Json,
    /// Runs the stage. All expressions in `with` are resolved.
    pub run: fn(Json, &Context) -> Result<Json, StageError>,
    /// See [`Stage::check`].
    pub check: fn(&Known<'_>, &mut Findings),
    /// See [`Stage::check_files`].
    pub check_files: fn(&Known<'_>, &mut Findings),
    /// See [`Stage::warn`].
    pub warn: fn(&Known<'_>, &mut Findings),
    /// See [`Stage::selection`]. Returns `None` for settings that do not fit; the run reports them.
    pub selection: fn(Json, &Path) -> Result<Option<Selection>>,
    /// See [`Stage::summary`]. Returns the default for outputs of another form, such as those of a stage with
    /// instances.
    pub summary: fn(&Map<String, Json>) -> Did,
    /// See [`Stage::still_holds`].
    pub still_holds: fn(&Json, &str, &Shared, &Cancel) -> Result<bool>,
}

/// Makes the registry entry of a kind.
pub(in crate::stages) const fn kind<S: Stage>() -> StageKind {
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
        check_files: S::check_files,
        warn: S::warn,
        selection: |with, base| serde_json::from_value::<S>(with).map_or(Ok(None), |stage| stage.selection(base)),
        summary: |outputs| {
            let outputs = serde_json::from_value::<S::Outputs>(Json::Object(outputs.clone()));
            outputs.map(|outputs| S::summary(&outputs)).unwrap_or_default()
        },
        still_holds: S::still_holds,
    }
}

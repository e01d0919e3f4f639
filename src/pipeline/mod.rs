//! Reads a pipeline file and checks it.
//!
//! Text flows in. A [`Pipeline`] flows out whose names, types and flows of secrets are checked, or every error in the
//! file at once, each with its place. Nothing here touches a store, a secret or the network.
//!
//! - `read/` turns text into a [`Document`]: a value, and the place of each of its parts.
//! - `check/` finds every error: first by the JSON Schema, then by what a schema cannot say.
//! - `model/` holds the structs of a pipeline. The schema is derived from them, and the same structs run.
//! - The files beside them join the three: `load` reads and checks a file, `outline` fills in what is known when a run
//!   starts, `resolve` and `partial` fill in settings, `migrate` edits the text of older versions.
//!
//! Every key of the language either works or is refused (TL0103, TL0104 for what is not built yet). A file that is
//! accepted does what it says. A key without a value (`null`) is refused too: it is more often a mistake than a wish, and
//! a key can be left out.
//!
//! The crates `serde_yaml`, `saphyr-parser` and `jsonschema` are used in this folder only.

mod check;
mod files;
mod load;
mod migrate;
mod model;
mod outline;
mod partial;
mod read;
mod resolve;

pub(crate) use check::secret_code;
pub use check::{MAX_INSTANCES, elsewhere, pipeline_schema, stage_schema, warnings};
pub use files::check_files;
pub use load::{load, load_kept};
pub use migrate::{Edits, Migrated, STEPS, Step, migrate};
pub use model::{
    Concurrency, Expect, IfBusy, Input, Matrix, Notification, OnWarning, Pipeline, Policy, Retry, Run, SecretSource,
    Stage, StoreOrChannel, Strategy, Version, When, artifact_source, expressions_in, resolve_inputs,
};
pub use outline::Outline;
pub use partial::{PartialResolver, PartialSettings, SecretPlaceholder};
pub use read::{Document, NEWEST_VERSION, hide_identities, is_pipeline, read_regular};
pub use resolve::{Failure, named_in, paths_in, resolve, resolve_argument, scalar_text, uses_context};

#[cfg(test)]
pub(crate) use migrate::tests::{MADE_UP, NEW, OLD};
#[cfg(test)]
mod tests;

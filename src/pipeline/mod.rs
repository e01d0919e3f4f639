//! A pipeline file: read, located, judged, typed, checked.
//!
//! Text flows in; what flows out is a [`Pipeline`] in which every name, type and secret flow is proven, or all that is
//! wrong with the file at once, each with its place. Nothing here touches a store, a secret or the network.
//!
//! The crates `serde_yaml`, `saphyr-parser` and `jsonschema` are used in this folder only.

mod check;
mod load;
mod migrate;
mod model;
mod outline;
mod partial;
mod read;
mod resolve;

pub(crate) use check::secret_code;
pub use check::{MAX_INSTANCES, pipeline_schema, stage_schema, warnings};
pub use load::load;
pub use migrate::{Edits, Migrated, STEPS, Step, migrate};
pub use model::{
    Concurrency, Expect, IfBusy, Input, Matrix, Notification, OnWarning, Pipeline, Policy, Retry, Run, SecretSource,
    Stage, StoreOrChannel, Strategy, Version, When, artifact_source, expressions_in, resolve_inputs,
};
pub use outline::Outline;
pub use partial::{PartialResolver, PartialSettings, SecretPlaceholder};
pub use read::{Document, NEWEST_VERSION, hide_identities, is_pipeline, read_regular};
pub use resolve::{Failure, paths_in, resolve, uses_context};

#[cfg(test)]
pub(crate) use migrate::tests::{MADE_UP, NEW, OLD};
#[cfg(test)]
mod tests;

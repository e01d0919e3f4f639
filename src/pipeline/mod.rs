//! A pipeline file: read, located, judged, typed, checked.
//!
//! Text flows in; what flows out is a [`Pipeline`] in which every name, type and secret flow is proven, or all that is
//! wrong with the file at once, each with its place. Nothing here touches a store, a secret or the network.
//!
//! The crates `serde_yaml`, `saphyr-parser` and `jsonschema` are used in this folder only.

mod align;
mod check;
mod document;
mod events;
mod extends;
mod fill;
mod findings;
mod inputs;
mod load;
mod matrix;
mod merge;
mod migrate;
mod model;
mod needs;
mod not_built;
mod notification;
mod policy;
mod program;
mod recognise;
mod resolve;
mod rules;
mod schema;
mod scope;
mod secret;
mod settings;
mod source;
mod start;
mod strategy;
mod stray;
mod syntax;
mod warnings;
mod wording;

pub use document::Document;
pub use fill::{Filled, Filler, Secrets};
pub use inputs::resolve_inputs;
pub use load::load;
pub use matrix::MOST_INSTANCES;
pub use migrate::{Edits, Migrated, NEWEST, STEPS, Step, migrate};
pub use model::{Input, OnWarning, Pipeline, Place, Retry, Run, SecretSource, Stage, Version};
pub use notification::{Notification, When};
pub use recognise::is_pipeline;
pub use resolve::{Failure, artifact_source, expressions_in, paths_in, resolve, uses_context};
pub use rules::{Concurrency, Expect, IfBusy, Policy};
pub use schema::{pipeline_schema, stage_schema};
pub(crate) use secret::secret_code;
pub use source::{read_regular, without_identities};
pub use start::Outline;
pub use strategy::{Matrix, Strategy};
pub use warnings::warnings;

#[cfg(test)]
pub(crate) use migrate::tests::{MADE_UP, NEW, OLD};
#[cfg(test)]
mod tests;

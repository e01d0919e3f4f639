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
mod findings;
mod inputs;
mod load;
mod model;
mod needs;
mod not_built;
mod program;
mod recognise;
mod resolve;
mod schema;
mod scope;
mod settings;
mod syntax;
mod warnings;
mod wording;

pub use document::Document;
pub use inputs::resolve_inputs;
pub use load::load;
pub use model::{Input, Notification, Pipeline, Place, Retry, Run, SecretSource, Stage, Version, When};
pub use recognise::is_pipeline;
pub use resolve::{Failure, artifact_source, expressions_in, resolve};
pub use schema::{pipeline_schema, stage_schema};
pub use warnings::warnings;

#[cfg(test)]
mod tests;

//! Finds every error in a file before it runs.
//!
//! A `Document` flows in. Findings flow out, each with its place. The JSON Schema finds wrong shapes; the [`Checker`]
//! finds what a schema cannot say: names, types of expressions, flows of secrets, circles, policy. Nothing here runs a
//! stage, opens a store or reads a secret.

mod checker;
mod declarations;
mod matrix;
mod matrix_values;
mod misplaced;
mod needs;
mod not_built;
mod pipes;
mod policy;
mod program;
mod schema;
mod schema_errors;
mod scope;
mod secret;
mod settings;
mod sites;
mod walk;
mod warnings;
mod wording;

pub(super) use checker::Checker;
pub use matrix::MAX_INSTANCES;
#[cfg(test)]
pub(super) use schema::SCHEMA;
pub(super) use schema::follow;
pub use schema::{pipeline_schema, stage_schema};
pub(super) use schema_errors::{schema_errors, schema_errors_in};
pub(crate) use secret::secret_code;
pub(super) use sites::is_known_at_start;
pub use warnings::{elsewhere, warnings};

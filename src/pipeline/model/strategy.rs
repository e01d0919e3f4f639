//! Several instances of one stage.

use std::borrow::Cow;
use std::num::NonZeroU16;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value as Json;

/// Several instances of one stage, each with values of its own.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Strategy {
    /// The values: one instance for each combination.
    pub matrix: Matrix,
    /// Whether the failure of one instance ends the others.
    #[serde(default)]
    pub fail_fast: bool,
    /// How many instances run at the same time.
    pub max_parallel: Option<NonZeroU16>,
}

/// Lists of values by name, `include` and `exclude`. Expressions are still texts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Matrix(IndexMap<String, Json>);

/// Combinations to add to a matrix.
pub(in crate::pipeline) const INCLUDE: &str = "include";
/// Combinations to leave out of a matrix.
pub(in crate::pipeline) const EXCLUDE: &str = "exclude";

impl Matrix {
    /// The lists, each with its name: a list of values, or an expression that gives one.
    pub fn axes(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0
            .iter()
            .map(|(name, values)| (name.as_str(), values))
            .filter(|(name, _)| !matches!(*name, INCLUDE | EXCLUDE))
    }

    /// All values in the file: lists, combinations to add, combinations to leave out.
    pub fn values(&self) -> impl Iterator<Item = &Json> {
        self.0.values()
    }

    /// The combinations of `include`.
    pub fn include(&self) -> impl Iterator<Item = &Json> {
        self.0.get(INCLUDE).and_then(Json::as_array).into_iter().flatten()
    }

    /// The combinations of `exclude`.
    pub fn exclude(&self) -> impl Iterator<Item = &Json> {
        self.0.get(EXCLUDE).and_then(Json::as_array).into_iter().flatten()
    }
}

impl JsonSchema for Matrix {
    fn schema_name() -> Cow<'static, str> {
        "Matrix".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let some = |about: &str| {
            json_schema!({
                "description": about,
                "type": "array",
                "items": { "type": "object", "minProperties": 1 },
            })
        };
        json_schema!({
            "type": "object",
            "minProperties": 1,
            "properties": {
                INCLUDE: some("Values to add: to the combinations that they fit, else as combinations of their own."),
                EXCLUDE: some("Combinations to leave out, each by some of its values."),
            },
            "additionalProperties": { "type": "array", "minItems": 1, "items": true },
        })
    }
}

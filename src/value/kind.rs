use schemars::{Schema, generate::SchemaSettings};
use serde_json::Value as Json;

/// One entry of a registry: a kind of store, channel or secret source.
///
/// The struct that runs is the struct that is deserialised and the struct that the schema is derived from.
pub struct Kind<T: ?Sized> {
    /// What a file calls it.
    pub name: &'static str,
    /// The JSON Schema of its settings.
    pub schema: fn() -> Json,
    /// Makes it from settings whose expressions are resolved.
    pub build: fn(Json) -> serde_json::Result<Box<T>>,
}

impl<T: ?Sized> Kind<T> {
    /// The kind of that name.
    pub fn find(kinds: &'static [Self], name: &str) -> Option<&'static Self> {
        kinds.iter().find(|kind| kind.name == name)
    }
}

/// The JSON Schema (draft 7) of a type, with its definitions inside.
pub fn schema_of<T: schemars::JsonSchema>() -> Json {
    let schema: Schema = SchemaSettings::draft07()
        .with(|settings| settings.meta_schema = None)
        .into_generator()
        .into_root_schema_for::<T>();
    schema.to_value()
}

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use schemars::{Schema, generate::SchemaSettings};
use serde_json::Value as Json;

use super::Settings;

/// One entry of a registry: a kind of store, channel or secret source.
///
/// One struct is all three: deserialised from the file, source of the schema, and run.
pub struct Kind<T: ?Sized> {
    /// Its name in a file.
    pub name: &'static str,
    /// The JSON Schema of its settings.
    pub schema: fn() -> &'static Json,
    /// The setting with a program and its arguments, if it runs one.
    pub program: Option<&'static str>,
    /// Builds it from settings whose expressions are resolved.
    pub build: fn(Settings<'_>) -> serde_json::Result<Box<T>>,
}

impl<T: ?Sized> Kind<T> {
    /// The kind of that name.
    pub fn find(kinds: &'static [Self], name: &str) -> Option<&'static Self> {
        kinds.iter().find(|kind| kind.name == name)
    }
}

/// A setting that cannot work, as its own value shows.
#[derive(Debug)]
pub struct Unfit<E> {
    /// Where the setting is, as a JSON pointer below the settings without the first `/`: `url`, `to/0`. Empty if this build
    /// of tl lacks the kind.
    pub setting: String,
    /// Why.
    pub error: E,
}

/// The JSON Schema (draft 7) of a type, with its definitions inside.
pub fn schema_of<T: schemars::JsonSchema>() -> Json {
    schema::<T>(SchemaSettings::draft07())
}

/// The schema of what `tl` writes of a type. A field that is always written is required, also where a reader has a default.
pub fn written_schema_of<T: schemars::JsonSchema>() -> Json {
    schema::<T>(SchemaSettings::draft07().for_serialize())
}

fn schema<T: schemars::JsonSchema>(settings: SchemaSettings) -> Json {
    let schema: Schema =
        settings.with(|settings| settings.meta_schema = None).into_generator().into_root_schema_for::<T>();
    schema.to_value()
}

/// The schema of a type, made once and kept for the life of the process: a file may use one kind ten thousand times.
pub fn kept_schema_of<T: schemars::JsonSchema + 'static>() -> &'static Json {
    static KEPT: LazyLock<RwLock<HashMap<TypeId, &'static Json>>> = LazyLock::new(RwLock::default);
    let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner).get(&TypeId::of::<T>()).copied();
    kept.unwrap_or_else(|| {
        let mut all = KEPT.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(TypeId::of::<T>()).or_insert_with(|| Box::leak(Box::new(schema_of::<T>())))
    })
}

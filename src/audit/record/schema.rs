use serde_json::{Value, json};

use super::{LogEntry, Record};
use crate::value::schema_of;

/// The JSON Schema (draft 7) of a line of the log: what all entries have, and the data of each type.
///
/// It knows the types of this release. A log that a newer release wrote may have others.
pub fn entry_schema() -> Value {
    let (mut schema, records) = (schema_of::<LogEntry>(), schema_of::<Record>());
    schema["title"] = json!("Entry of the audit log");
    schema["oneOf"] = records["oneOf"].clone();
    for (name, definition) in records["definitions"].as_object().into_iter().flatten() {
        schema["definitions"][name] = definition.clone();
    }
    schema
}

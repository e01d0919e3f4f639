use serde_json::{Map, Value as Json};

/// The entries of a JSON object; none of any other value.
pub fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

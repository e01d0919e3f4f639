//! JSON pointers into a file (RFC 6901), and the maps they lead through.

use serde_json::{Map, Value as Json};

/// A key, escaped as one part of a JSON pointer (RFC 6901).
pub(in crate::pipeline) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The key of the value at a pointer. For an item of a list, the key of the list.
pub(in crate::pipeline) fn field_of(pointer: &str) -> String {
    let field = pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
    field.replace("~1", "/").replace("~0", "~")
}

/// The entries of a map of the file. Empty if the key is missing or is no map.
pub(in crate::pipeline) fn entries<'a>(file: &'a Json, section: &str) -> impl Iterator<Item = (&'a String, &'a Json)> {
    file.get(section).and_then(Json::as_object).into_iter().flat_map(Map::iter)
}

//! Merge keys: `<<: *base` adds the entries of another map that a map does not have itself.
//!
//! `serde_yaml` can merge too, but then the places of merged entries would be lost.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::document::Document;
use super::pointer::escape;
use crate::diagnostic::{Diagnostic, codes};

impl Document {
    /// The value with every merge key applied. Merged entries stand where `<<` stood. The map's own keys win over merged
    /// ones, and earlier merged maps over later ones (YAML 1.1, "Merge Key Language-Independent Type").
    pub(super) fn merged(&mut self, value: Json, pointer: &str) -> Result<Json, Diagnostic> {
        match value {
            Json::Array(items) => {
                let items = items.into_iter().enumerate();
                Ok(Json::Array(
                    items.map(|(i, item)| self.merged(item, &format!("{pointer}/{i}"))).collect::<Result<_, _>>()?,
                ))
            }
            Json::Object(map) => {
                let own: HashSet<String> = map.keys().cloned().collect();
                let mut whole = Map::new();
                for (key, item) in map {
                    let at = format!("{pointer}/{}", escape(&key));
                    let item = self.merged(item, &at)?;
                    if key == MERGE {
                        for (from, entries) in self.merge_sources(item, &at)? {
                            for (name, item) in entries {
                                if !own.contains(&name) && !whole.contains_key(&name) {
                                    self.copied(
                                        &format!("{pointer}/{}", escape(&name)),
                                        &format!("{from}/{}", escape(&name)),
                                    );
                                    whole.insert(name, item);
                                }
                            }
                        }
                    } else {
                        whole.insert(key, item);
                    }
                }
                Ok(Json::Object(whole))
            }
            scalar => Ok(scalar),
        }
    }

    /// The maps that a merge key names, each with its pointer.
    fn merge_sources(&self, value: Json, pointer: &str) -> Result<Merged, Diagnostic> {
        let one = |value: Json, pointer: String| match value {
            Json::Object(map) => Ok((pointer, map)),
            _ => Err(Diagnostic::usage(
                codes::TL0010,
                "a merge key takes maps, such as `<<: *base` or `<<: [*one, *two]`",
            )
            .at(self.at_value(&pointer))
            .help("put the anchor on a map")),
        };
        match value {
            Json::Array(items) => {
                items.into_iter().enumerate().map(|(i, item)| one(item, format!("{pointer}/{i}"))).collect()
            }
            other => Ok(vec![one(other, pointer.to_owned())?]),
        }
    }

    /// Records that the value at `pointer` was written at `from`.
    fn copied(&mut self, pointer: &str, from: &str) {
        if let Some(node) = self.node(from) {
            self.nodes.insert(pointer.to_owned(), node);
            self.aliases.insert(pointer.to_owned(), from.to_owned());
        }
    }
}

/// Maps, each with its pointer.
type Merged = Vec<(String, Map<String, Json>)>;

pub(in crate::pipeline) const MERGE: &str = "<<";

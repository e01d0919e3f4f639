use std::borrow::Cow;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A path in a pipeline file, of something that a stage reads. A relative path is relative to the folder of that file. It is made
/// absolute before anything runs. The content of the file is part of the key by which a resumed run recalls the stage, so a
/// file that the stage writes itself must not be one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct FilePath(PathBuf);

impl FilePath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl JsonSchema for FilePath {
    fn schema_name() -> Cow<'static, str> {
        "FilePath".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "pattern": "^([^~]|$)", "x-tl-type": "path" })
    }
}

/// The part of a path that a shell would replace, such as `$HOME` or `$(date)`: no shell reads it here.
pub fn shell_expansion(text: &str) -> Option<&str> {
    let starts = text.match_indices('$').map(|(at, _)| text.split_at(at));
    starts.into_iter().find_map(|(before, from)| {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let rest = &from[1..];
        match rest.chars().next()? {
            '{' if !rest.starts_with("{{") => Some(from.split_inclusive('}').next().unwrap_or(from)),
            '(' => Some(from.split_inclusive(')').next().unwrap_or(from)),
            first if (first.is_ascii_alphabetic() || first == '_') && (before.is_empty() || before.ends_with('/')) => {
                Some(&from[..=rest.find(|letter| !is_name(letter)).unwrap_or(rest.len())])
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_replace_is_found() {
        for (text, found) in [
            ("$HOME/b", Some("$HOME")),
            ("/mnt/$USER", Some("$USER")),
            ("/mnt/${USER}/x", Some("${USER}")),
            ("a-$(date +%F).tar", Some("$(date +%F)")),
            ("/mnt/${{ inputs.user }}", None),
            ("/mnt/$RECYCLE.BIN", Some("$RECYCLE")),
            ("/mnt/a$b", None),
            ("/mnt/5$", None),
            ("/mnt/$1", None),
        ] {
            assert_eq!(shell_expansion(text), found, "{text}");
        }
    }
}

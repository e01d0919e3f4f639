//! Tells pipelines from other YAML files in a folder.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::document::Document;
use super::limits::MAX_FILE_BYTES;
use crate::diagnostic::{Diagnostic, codes};

/// Whether a file is meant as a pipeline: it has `version` at its top level.
///
/// A file with errors counts as well, if one of its lines begins with `version:`. Otherwise an error would hide the file
/// from `tl validate FOLDER`. Fails if the file cannot be read.
pub fn is_pipeline(path: &Path) -> Result<bool, Diagnostic> {
    match Document::read(path) {
        Ok(document) => Ok(document.value().get("version").is_some()),
        Err(found) => match found.into_iter().find(|found| found.code == codes::TL0001) {
            Some(unreadable) => Err(unreadable),
            None => Ok(begins_a_line(path)),
        },
    }
}

fn begins_a_line(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let key = |line: &str| {
        let rest = ["version", "\"version\"", "'version'"].iter().find_map(|key| line.strip_prefix(key));
        rest.is_some_and(|rest| rest.trim_start_matches(' ').starts_with(':'))
    };
    read.is_ok() && text.trim_start_matches('\u{feff}').lines().any(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_top_level_version_makes_a_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let is = |text: &str| {
            std::fs::write(&path, text).unwrap();
            is_pipeline(&path).unwrap()
        };
        for text in [
            "version: 1\n",
            "name: a\n'version' : 2",
            "{ \"version\": 1 }",
            "\u{feff}version: [\n",
            "a: [\nversion: 1\n",
        ] {
            assert!(is(text), "{text}");
        }
        for text in [
            "",
            "a: { version: 1 }\n",
            "apiVersion: 1\n---\nb: 1\n",
            "version\n",
            "- version: 1\n",
            "a: [\n  version: 1\n",
        ] {
            assert!(!is(text), "{text}");
        }
        assert_eq!(is_pipeline(&folder.path().join("none")).unwrap_err().code, codes::TL0001);
    }
}

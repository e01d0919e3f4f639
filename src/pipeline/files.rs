//! Checks of the files that belong to a pipeline file: those that its stages name by relative paths.

use serde_json::{Map, Value as Json};

use super::read::{Document, entries, escape};
use crate::diagnostic::{Diagnostic, Kind};
use crate::stages::{self, Findings, Known};

/// Every finding about the files beside a pipeline file. A kept text is not checked so: its files may be gone.
pub fn check_files(document: &Document) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    for section in ["stages", "finally"] {
        for (name, stage) in entries(document.value(), section) {
            let Some(kind) = stage["uses"].as_str().and_then(stages::find) else { continue };
            let with = format!("/{section}/{}/with", escape(name));
            let folder_of = |pointer: &str| document.folder_of(&format!("{with}{pointer}")).to_owned();
            let (nothing, mut found) = (Json::Object(Map::new()), Findings::default());
            let settings = Known::with_files(stage.get("with").unwrap_or(&nothing), &folder_of);
            (kind.check_files)(&settings, &mut found);
            all.extend(found.into_iter().map(|found| {
                let problem = Diagnostic { kind: Kind::Usage, ..found.problem };
                problem.at(document.at_value(&format!("{with}{}", found.pointer)))
            }));
        }
    }
    all
}

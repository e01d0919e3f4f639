//! Reads and checks a whole file.

use std::path::Path;

use super::check::{Checker, schema_errors};
use super::outline::{Outline, difference, without_start_expressions};
use super::read::{Document, MAX_FINDINGS, check_version};
use crate::diagnostic::{Diagnostic, codes};

/// Reads a file and checks everything that can be checked without running it. Fails with all errors, ordered by place.
pub fn load(path: &Path) -> Result<(Document, Outline), Vec<Diagnostic>> {
    check_document(Document::read(path)?)
}

/// Checks the texts of a file as they once were: its own, then those that it extended, nearest first.
pub fn load_kept(path: &Path, texts: &[Vec<u8>]) -> Result<(Document, Outline), Vec<Diagnostic>> {
    check_document(Document::kept(path, texts)?)
}

/// Checks a document.
pub(super) fn check_document(document: Document) -> Result<(Document, Outline), Vec<Diagnostic>> {
    check_version(&document).map_err(|found| vec![found])?;
    let mut found = schema_errors(&document);
    let mut checked = Checker::new(&document).run();
    // A value that its schema refuses is no news to its kind.
    checked.retain(|one| one.code != codes::TL0606 || found.iter().all(|other| other.place != one.place));
    let is_cut = found.len().max(checked.len()) > MAX_FINDINGS;
    found.extend(checked);
    found.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    // An error behind an alias is found once for each copy, always at the same place.
    found.dedup_by(|a, b| a.place == b.place && a.code == b.code && a.message == b.message);
    if is_cut {
        found.truncate(MAX_FINDINGS);
        let message = format!("more than {MAX_FINDINGS} findings in one file: the rest is not told");
        let help = "mend the others first, and validate again";
        found.push(Diagnostic::usage(codes::TL0004, message).at(document.at_value("")).help(help));
    }
    if !found.is_empty() {
        return Err(found);
    }
    match serde_json::from_value(without_start_expressions(document.value())) {
        Ok(pipeline) => Ok((document, Outline(pipeline))),
        Err(error) => Err(vec![difference(&document, &error)]),
    }
}

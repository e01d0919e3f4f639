use std::path::Path;

use super::check::Checker;
use super::document::Document;
use super::findings::findings;
use super::migrate::NEWEST;
use super::start::{Outline, without_start_expressions};
use crate::diagnostic::{Diagnostic, codes};

/// More are not told: each holds its line, and who has mended so many validates again.
pub(super) const MOST_FINDINGS: usize = 1_000;

/// Reads a file and proves all that can be proven without running it. Fails with everything that is wrong, by place.
pub fn load(path: &Path) -> Result<(Document, Outline), Vec<Diagnostic>> {
    judge(Document::read(path)?)
}

/// Proves what was read.
pub(super) fn judge(document: Document) -> Result<(Document, Outline), Vec<Diagnostic>> {
    version(&document).map_err(|found| vec![found])?;
    let mut found = findings(&document);
    let checked = Checker::new(&document).run();
    let is_cut = found.len().max(checked.len()) > MOST_FINDINGS;
    found.extend(checked);
    found.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    // The copies of an alias have one place.
    found.dedup_by(|a, b| a.place == b.place && a.code == b.code && a.message == b.message);
    if is_cut {
        found.truncate(MOST_FINDINGS);
        let message = format!("more than {MOST_FINDINGS} findings in one file: the rest is not told");
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

/// Schema and structs are one; a difference between them is a mistake in tl, and is told as one.
pub(super) fn difference(document: &Document, error: &serde_json::Error) -> Diagnostic {
    Diagnostic::usage(codes::TL0902, "the schema accepts this file and the program does not: please report it")
        .cause(error)
        .at(document.at_value(""))
}

/// The version is read before the rest: of a later one nothing else is known.
pub(super) fn version(document: &Document) -> Result<(), Diagnostic> {
    match version_number(document)? {
        NEWEST => Ok(()),
        other => Err(unknown_version(document, other)),
    }
}

/// The version that a file says it has.
pub(super) fn version_number(document: &Document) -> Result<i64, Diagnostic> {
    let file = document.value();
    if !file.is_object() {
        let message = "a pipeline is a map of keys and values";
        return Err(Diagnostic::usage(codes::TL0201, message)
            .at(document.at_value(""))
            .help("start with `version: 1`"));
    }
    match file.get("version") {
        Some(version) => version.as_i64().ok_or_else(|| no_version(document)),
        None => Err(Diagnostic::usage(codes::TL0101, "`version` is missing")
            .at(document.at_value(""))
            .help("write `version: 1` as the first line")),
    }
}

/// A version that this release does not know.
pub(super) fn unknown_version(document: &Document, version: i64) -> Diagnostic {
    if version <= NEWEST {
        return no_version(document);
    }
    Diagnostic::usage(codes::TL0102, format!("this file has version {version}"))
        .at(document.at_value("/version"))
        .help(format!("tl {} knows version {NEWEST}: install a later release", env!("CARGO_PKG_VERSION")))
}

fn no_version(document: &Document) -> Diagnostic {
    Diagnostic::usage(codes::TL0101, "`version` must be the number 1")
        .at(document.at_value("/version"))
        .help("write `version: 1`")
}

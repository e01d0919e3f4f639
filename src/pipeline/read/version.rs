//! The version of the language that a file says it has.

use super::document::Document;
use crate::diagnostic::{Diagnostic, codes};

/// The newest version of the language.
pub const NEWEST_VERSION: i64 = 1;

/// Checks the version. This comes before all other checks: nothing is known about files of a later version.
pub(in crate::pipeline) fn check_version(document: &Document) -> Result<(), Diagnostic> {
    match version_number(document)? {
        NEWEST_VERSION => Ok(()),
        other => Err(unknown_version(document, other)),
    }
}

/// The version that a file declares.
pub(in crate::pipeline) fn version_number(document: &Document) -> Result<i64, Diagnostic> {
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

/// The error for a version that this release does not know.
pub(in crate::pipeline) fn unknown_version(document: &Document, version: i64) -> Diagnostic {
    if version <= NEWEST_VERSION {
        return no_version(document);
    }
    Diagnostic::usage(codes::TL0102, format!("this file has version {version}"))
        .at(document.at_value("/version"))
        .help(format!("tl {} knows version {NEWEST_VERSION}: install a later release", env!("CARGO_PKG_VERSION")))
}

fn no_version(document: &Document) -> Diagnostic {
    Diagnostic::usage(codes::TL0101, "`version` must be the number 1")
        .at(document.at_value("/version"))
        .help("write `version: 1`")
}

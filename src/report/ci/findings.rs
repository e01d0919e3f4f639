//! Findings as plain text, for formats that have their own way to show a place.

use crate::diagnostic::Diagnostic;
use crate::report::text::plain_lines;

/// Message, label and causes, each on a line.
pub(super) fn sentences(problem: &Diagnostic) -> String {
    let label = problem.label.iter().cloned();
    let causes = problem.causes.iter().map(|cause| format!("cause: {cause}"));
    let lines: Vec<String> = std::iter::once(problem.message.clone()).chain(label).chain(causes).collect();
    plain_lines(&lines.join("\n"))
}

/// A file's path, relative to the current folder if it lies below it.
pub(super) fn relative(file: &str) -> String {
    let below = || {
        let here = std::env::current_dir().ok()?;
        let path = std::path::absolute(file).ok()?;
        Some(path.strip_prefix(here).ok()?.to_str()?.to_owned())
    };
    below().unwrap_or_else(|| file.to_owned())
}

//! Findings as one text each, for formats that know no places in colour.

use crate::diagnostic::Diagnostic;
use crate::report::text::plain_lines;

/// Message, label and causes, a line each.
pub(super) fn sentences(problem: &Diagnostic) -> String {
    let label = problem.label.iter().cloned();
    let causes = problem.causes.iter().map(|cause| format!("cause: {cause}"));
    let lines: Vec<String> = std::iter::once(problem.message.clone()).chain(label).chain(causes).collect();
    plain_lines(&lines.join("\n"))
}

/// A file, from the folder that tl was started in where it lies below it.
pub(super) fn relative(file: &str) -> String {
    let below = || {
        let here = std::env::current_dir().ok()?;
        let path = std::path::absolute(file).ok()?;
        Some(path.strip_prefix(here).ok()?.to_str()?.to_owned())
    };
    below().unwrap_or_else(|| file.to_owned())
}

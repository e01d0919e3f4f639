//! Findings as one text each, for formats that know no places in colour.

use super::plain_lines;
use crate::diagnostic::{Diagnostic, Severity};
use crate::inspect::Validation;

/// How many findings there are, in how many files: the last line for people.
pub fn render_counts(validation: &Validation) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let counts = [(Severity::Error, "error"), (Severity::Warning, "warning")]
        .map(|(severity, word)| (validation.count(severity), word))
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| count(number, word));
    let files = validation.files.len();
    let of = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    format!("{} ({} of {of} fine)", counts.collect::<Vec<_>>().join(", "), validation.sound().count())
}

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

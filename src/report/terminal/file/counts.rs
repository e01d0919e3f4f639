use crate::diagnostic::Severity;
use crate::inspect::Validation;

/// The last line of `tl validate`: how many errors and warnings there are, and how many files have none.
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

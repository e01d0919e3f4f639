use super::{Style, plain};
use crate::diagnostic::{Diagnostic, Severity};

/// A problem as people read it: code, sentence, place, marked text, causes, help.
pub fn render_diagnostic(problem: &Diagnostic, style: Style) -> String {
    let word = match problem.severity {
        Severity::Error => style.red(&format!("error[{}]", problem.code)),
        Severity::Warning => style.yellow(&format!("warning[{}]", problem.code)),
    };
    let mut text = format!("{word}: {}\n", plain(&problem.message));
    let mut margin = String::new();
    if let Some(place) = &problem.place {
        let number = place.line.to_string();
        margin = " ".repeat(number.len());
        let bar = style.blue("|");
        let source = plain(&place.text).replace('\t', " ");
        let before = place.column.saturating_sub(1);
        let marks = style.red(&"^".repeat(place.length));
        let label = problem.label.as_deref().map(|label| format!(" {}", plain(label))).unwrap_or_default();
        text.push_str(&format!(
            "{margin}{} {}:{}:{}\n{margin} {bar}\n{} {bar} {source}\n{margin} {bar} {}{marks}{label}\n",
            style.blue("-->"),
            plain(&place.file),
            place.line,
            place.column,
            style.blue(&number),
            " ".repeat(before),
        ));
    } else if let Some(label) = &problem.label {
        text.push_str(&format!("  = {}\n", plain(label)));
    }
    let notes =
        problem.causes.iter().map(|cause| ("cause", cause)).chain(problem.help.iter().map(|help| ("help", help)));
    for (word, note) in notes {
        let lines = plain(note).replace('\n', &format!("\n{margin}          "));
        text.push_str(&format!("{margin} {} {word}: {lines}\n", style.blue("=")));
    }
    text
}

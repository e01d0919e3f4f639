use unicode_width::UnicodeWidthStr;

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::report::style::Style;
use crate::report::text::{fitting, plain, plain_lines};

/// How many columns of a file's line are shown. A longer line is cut around the mark.
const WIDEST: usize = 120;
/// How many columns of a cut line are shown before the mark.
const BEFORE: usize = 40;

/// A problem: code, sentence, place, marked text, causes, help.
pub fn render_diagnostic(problem: &Diagnostic, style: Style) -> String {
    let word = match problem.severity {
        Severity::Error => style.red(&format!("error[{}]", problem.code)),
        Severity::Warning => style.yellow(&format!("warning[{}]", problem.code)),
    };
    let mut text = format!("{word}: {}\n", plain(&problem.message.replace('\n', " ")));
    let mut margin = String::new();
    if let Some(place) = &problem.place {
        let number = place.line.to_string();
        margin = " ".repeat(number.len());
        let bar = style.blue("|");
        let shown = Shown::of(place, style.signs().dots);
        let marks = style.red(&"^".repeat(shown.length));
        let label = problem.label.as_deref().map(|label| format!(" {}", plain(label))).unwrap_or_default();
        text.push_str(&format!(
            "{margin}{} {}:{}:{}\n{margin} {bar}\n{} {bar} {}\n{margin} {bar} {}{marks}{label}\n",
            style.blue("-->"),
            plain(&place.file),
            place.line,
            place.column,
            style.blue(&number),
            shown.text,
            " ".repeat(shown.before),
        ));
    } else if let Some(label) = &problem.label {
        text.push_str(&format!("  = {}\n", plain(label)));
    }
    let notes =
        problem.causes.iter().map(|cause| ("cause", cause)).chain(problem.help.iter().map(|help| ("help", help)));
    for (word, note) in notes {
        let lines = plain_lines(note).replace('\n', &format!("\n{margin}          "));
        text.push_str(&format!("{margin} {} {word}: {lines}\n", style.blue("=")));
    }
    text
}

/// The shown part of a file's line, and where its mark begins and how long it is, in columns.
struct Shown {
    text: String,
    before: usize,
    length: usize,
}

impl Shown {
    fn of(place: &Location, dots: &str) -> Self {
        // One character stays one character, so that the column still counts.
        let line: Vec<char> = plain(&place.text).replace('\t', " ").trim_end().chars().collect();
        let start = place.column.saturating_sub(1).min(line.len());
        let end = (start + place.length).min(line.len());
        let width = |part: &[char]| part.iter().collect::<String>().width();
        let whole = width(&line) <= WIDEST;
        let from =
            if whole || width(&line[..start]) <= BEFORE { 0 } else { fitting(line[..start].iter().rev(), BEFORE) };
        let from = if from == 0 { 0 } else { start - from };
        let to = if whole { line.len() } else { from + fitting(line[from..].iter(), WIDEST) };
        let cut_at = |is_cut: bool| if is_cut { dots } else { "" };
        let middle: String = line[from..to].iter().collect();
        let end = end.min(to);
        Self {
            text: format!("{}{middle}{}", cut_at(from > 0), cut_at(to < line.len())),
            before: cut_at(from > 0).width() + width(&line[from..start]),
            length: width(&line[start..end.max(start)]).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::codes;

    fn marked(text: &str, column: usize, length: usize) -> String {
        let place = Location { file: "a.yaml".to_owned(), line: 7, column, length, text: text.to_owned() };
        let problem = Diagnostic::usage(codes::TL0207, "wrong").at(place).label("here");
        let text = render_diagnostic(&problem, Style { unicode: true, ..Style::default() });
        text.lines().skip(3).map(|line| line.split_once("| ").unwrap().1).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn marks_stand_below_what_they_mark() {
        assert_eq!(marked("key: value", 6, 5), "key: value\n     ^^^^^ here");
        assert_eq!(marked("注文: ab", 5, 2), "注文: ab\n      ^^ here");
        assert_eq!(marked("k: 注文", 4, 2), "k: 注文\n   ^^^^ here");
        assert_eq!(marked("e\u{301}: ab", 5, 2), "e\u{301}: ab\n   ^^ here");
        assert_eq!(marked("k:\tab", 4, 2), "k: ab\n   ^^ here");
        assert_eq!(marked("k: ", 99, 5), "k:\n  ^ here");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let line = format!("{}KEY{}", "a".repeat(200), "b".repeat(200));
        let shown = marked(&line, 201, 3);
        let (text, marks) = shown.split_once('\n').unwrap();
        assert_eq!(text, format!("…{}KEY{}…", "a".repeat(40), "b".repeat(77)));
        assert_eq!(marks, format!("{}^^^ here", " ".repeat(41)));
        // What is marked is itself too long.
        assert!(marked(&line, 1, 403).lines().all(|line| line.chars().count() <= WIDEST + 6));
    }
}

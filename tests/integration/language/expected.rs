//! What a file of `tests/wrong` or `tests/warned` says is found in it.

use std::fs;
use std::path::Path;

use timelocker::diagnostic::Diagnostic;

/// Files that cannot begin with a comment, or would mean something else if they did.
const WITHOUT_COMMENT: &[(&str, &str)] = &[
    ("empty.yaml", "TL0003"),
    ("binary.yaml", "TL0002 3:14 \u{fffd}"),
    ("latin-1.yaml", "TL0002 3:19 \u{fffd}"),
    ("byte-order-mark.yaml", "TL0204 4:3 Check"),
    ("line-separator.yaml", "TL0005 3:17"),
    ("windows-line-ends.yaml", "TL0207 6:5 timeuot"),
];

/// A finding as the comment spells it.
pub fn spelled(finding: &Diagnostic) -> String {
    let Some(place) = &finding.place else { return finding.code.to_string() };
    let marked: String = place.text.chars().skip(place.column - 1).take(place.length).collect();
    format!("{} {}:{} {marked}", finding.code, place.line, place.column).trim_end().to_owned()
}

/// What a file says is found in it.
pub fn expected(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    if let Some((_, expected)) = WITHOUT_COMMENT.iter().find(|(file, _)| *file == name) {
        return vec![(*expected).to_owned()];
    }
    let text = fs::read_to_string(path).unwrap();
    text.lines().map_while(|line| line.strip_prefix("# expect: ")).map(|line| line.trim_end().to_owned()).collect()
}

/// A text on one line, without what would steer a terminal: control characters, line ends, bidi controls.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) || c == '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same, of several lines.
pub(crate) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect()
}

fn is_steering(c: char) -> bool {
    let bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}') || bidi
}

use crate::value::is_steering;

/// A text on one line, without what would steer a terminal: control characters, line ends, bidi controls.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) || c == '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same, of several lines.
pub(crate) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect()
}

use crate::value::is_control_or_bidi;

/// A text on one line, without what would steer a terminal: control characters, line ends, bidi controls.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_control_or_bidi(c) || c == '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same, of several lines.
pub(crate) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if is_control_or_bidi(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether a character steers what shows it instead of being shown: control characters but for tabs and line ends, line
/// separators, and marks that turn the direction of writing.
pub fn is_control_or_bidi(c: char) -> bool {
    let bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}') || bidi
}

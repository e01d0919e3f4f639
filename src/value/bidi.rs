/// Whether a character controls the terminal or program that shows it: a control character except tab and line feed, a
/// line separator, or a mark that changes the direction of writing (bidi).
pub fn is_control_or_bidi(c: char) -> bool {
    let bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}') || bidi
}

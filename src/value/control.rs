/// Whether a character controls how text is shown instead of being shown: control characters except tab and line feed, line
/// separators, and marks of writing direction.
pub fn is_control_or_bidi(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}') || is_bidi(c)
}

/// Whether a character sets the direction of writing (Unicode `Bidi_Control`): it can make a text read as another one.
pub fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

//! Makes text safe to show: cuts long texts, and removes characters that control how the surrounding text is displayed.

use crate::value::is_bidi;

/// One line without control characters.
pub(super) fn one_line(text: &str) -> String {
    let space = |c: char| match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() || is_bidi(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(space).collect::<String>().trim().to_owned()
}

/// Lines without control characters.
pub(super) fn lines(text: &str) -> String {
    let clean = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() || is_bidi(c) => '\u{fffd}',
        c => c,
    };
    text.replace("\r\n", "\n").chars().map(clean).collect()
}

/// At most `most` characters. A cut text ends in `…`.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A text inside the quotes of a JSON string, with every control character escaped.
pub(super) fn json_inside(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let escaped = |c: char| if c.is_control() { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    quoted[1..quoted.len() - 1].chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left() {
        let hostile = "a\r\nBcc: x\0\u{1b}[31m\u{202e}\u{2066}b\u{2028}c\td\u{85}";
        assert_eq!(one_line(hostile), "a  Bcc: x\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}b c d\u{fffd}");
        assert_eq!(lines("a\r\nb\rc\0"), "a\nb\u{fffd}c\u{fffd}");
    }

    #[test]
    fn a_cut_counts_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüx", 3), "äö…");
        assert_eq!(json_inside("a\"\n\\"), "a\\\"\\n\\\\");
    }
}

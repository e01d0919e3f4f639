//! Maps a character of a decoded scalar back to the text it came from.

/// How a scalar is quoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) enum Quotes {
    #[default]
    Plain,
    /// A block (`|` or `>`). Its span begins at its first letter.
    Block,
    Single,
    Double,
}

/// The position in the raw text of character `offset` of the decoded scalar. `None` if they do not match.
///
/// Walks both texts and skips quotes, escapes, and the line ends and indentation that folding turned into one space. The
/// parsers do not report this mapping, so it is computed here.
pub(super) fn align(raw: &[char], quotes: Quotes, value: &str, offset: usize) -> Option<usize> {
    let (single, double) = (quotes == Quotes::Single, quotes == Quotes::Double);
    let mut at = usize::from(double || single);
    for (i, wanted) in value.chars().enumerate() {
        while at < raw.len() {
            match raw[at] {
                c if c == wanted
                    && !(double && c == '\\')
                    && !(single && c == '\'' && raw.get(at + 1) != Some(&'\'')) =>
                {
                    break;
                }
                // An escaped line end stands for nothing.
                '\\' if double && matches!(raw.get(at + 1), Some('\n' | '\r')) => at += 2,
                '\\' if double => break,
                // A fold: the space that it became maps to the line end.
                '\n' if wanted == ' ' => break,
                c if c.is_whitespace() => at += 1,
                _ => return None,
            }
        }
        if i == offset {
            return (at < raw.len()).then_some(at);
        }
        at += match raw.get(at)? {
            '\\' if double => match raw.get(at + 1)? {
                'x' => 4,
                'u' => 6,
                'U' => 10,
                _ => 2,
            },
            '\'' if single => 2,
            _ => 1,
        };
    }
    None
}

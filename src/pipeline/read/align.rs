/// How a scalar is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) enum Quotes {
    #[default]
    Plain,
    /// A block, marked from its first letter on.
    Block,
    Single,
    Double,
}

/// Finds character `offset` of a decoded scalar in its raw text: walks both, passing over quotes, escapes and the line
/// ends and indentation that folding turned into one blank.
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
                // A line end that is escaped gives nothing.
                '\\' if double && matches!(raw.get(at + 1), Some('\n' | '\r')) => at += 2,
                '\\' if double => break,
                // A fold: the blank it became is where the line ends.
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

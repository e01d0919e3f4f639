//! Columns of a terminal: how much of a text fits, and what to do with the rest.

use std::os::fd::AsFd;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::value::is_steering;

/// A text on one line, without what would steer a terminal: control characters, line ends, bidi controls.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) || c == '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same, of several lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect()
}

/// Columns and rows of a terminal; nothing where there is none.
pub(super) fn size_of(terminal: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    // A terminal that does not know its size says 0.
    let known = |count: u16, usual: usize| if count == 0 { usual } else { count.into() };
    Some((known(size.ws_col, 80), known(size.ws_row, 24)))
}

/// How many characters fit into so many columns.
pub(super) fn fitting<'c>(characters: impl Iterator<Item = &'c char>, columns: usize) -> usize {
    let mut used = 0;
    characters
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .count()
}

/// A line that is no wider than so many columns; one that is cut ends with `dots`.
pub(super) fn cut(line: &str, columns: usize, dots: &str) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let characters: Vec<char> = line.chars().collect();
    let fits = fitting(characters.iter(), columns.saturating_sub(dots.width()));
    format!("{}{dots}", characters[..fits].iter().collect::<String>())
}

/// A text behind what stands on its line already: `used` columns, and further lines are indented by `indent`. Words are
/// never cut, since somebody may want to copy them, and a number stays with its unit.
pub(super) fn fill(text: &str, used: usize, indent: usize, columns: usize) -> String {
    let mut filled = String::new();
    let mut at = used;
    let mut is_first = true;
    for word in words(text) {
        let width = word.width();
        if at + usize::from(!is_first) + width > columns && at > indent {
            // No blank at the end of a line.
            filled.truncate(filled.trim_end_matches(' ').len());
            filled.push_str(&format!("\n{}", " ".repeat(indent)));
            at = indent;
        } else if !is_first {
            filled.push(' ');
            at += 1;
        }
        filled.push_str(&word);
        at += width;
        is_first = false;
    }
    filled
}

/// The words of a text, a number together with the one behind it.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text.split(' ');
    std::iter::from_fn(move || {
        let mut word = rest.next()?.to_owned();
        if !word.is_empty()
            && word.chars().all(|c| c.is_ascii_digit() || c == '.')
            && let Some(unit) = rest.next()
        {
            word.push(' ');
            word.push_str(unit);
        }
        Some(word)
    })
}

/// A text, and blanks up to so many columns.
pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_cut_by_columns_and_not_by_bytes() {
        for (line, columns, shown) in [
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("注文注文", 7, "注文注…"),
            ("注文注文", 6, "注文…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("ab", 0, "…"),
        ] {
            assert_eq!(cut(line, columns, "…"), shown);
        }
        assert_eq!(cut("longer", 5, "..."), "lo...");
    }

    #[test]
    fn words_go_to_the_next_line_whole() {
        assert_eq!(fill("3 files, 4.0 KiB, 1.2 s", 10, 4, 20), "3 files,\n    4.0 KiB, 1.2 s");
        assert_eq!(fill("4.0 KiB, 1.2 s", 0, 2, 12), "4.0 KiB,\n  1.2 s");
        assert_eq!(fill("/a/very/long/path/that/is/copied", 10, 4, 20), "\n    /a/very/long/path/that/is/copied");
        assert_eq!(fill("as it is", 10, 4, usize::MAX), "as it is");
    }

    proptest! {
        #[test]
        fn no_cut_line_is_too_wide_and_no_word_is_lost(text in "\\PC{0,60}", columns in 3_usize..50) {
            prop_assert!(cut(&text, columns, "…").width() <= columns);
            let words = |text: &str| text.split([' ', '\n']).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&fill(&text, 0, 4, columns)), words(&text));
        }
    }
}

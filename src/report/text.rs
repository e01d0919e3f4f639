//! Text on a terminal: what is safe to print, how wide it is, and how it is cut, wrapped and padded. Widths are columns,
//! as a terminal counts them, not bytes or characters.

use std::os::fd::AsFd;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::value::is_control_or_bidi;

/// Makes a text safe on one line: replaces line ends, control characters and bidi controls, which would steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_control_or_bidi(c) || c == '\n' { '\u{fffd}' } else { c }).collect()
}

/// Like [`plain`], but keeps line ends.
pub(super) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if is_control_or_bidi(c) { '\u{fffd}' } else { c }).collect()
}

/// The name of a file as one word of a shell. A name that begins with `-` would be an option, so `./` comes first.
pub fn shell_word(path: &str) -> String {
    let path = plain(path);
    let path = if path.starts_with('-') { format!("./{path}") } else { path };
    shlex::try_quote(&path).expect("`plain` replaces NUL, the one character that cannot be quoted").into_owned()
}

/// The columns and rows of a terminal; `None` if it is none.
pub(super) fn size_of(terminal: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    // A terminal that does not know its size says 0.
    let known = |count: u16, usual: usize| if count == 0 { usual } else { count.into() };
    Some((known(size.ws_col, WIDTH), known(size.ws_row, HEIGHT)))
}

/// The usual terminal, where the size is unknown.
pub(super) const WIDTH: usize = 80;
pub(super) const HEIGHT: usize = 24;

/// How many of these characters fit into `columns`.
pub(super) fn fitting<'c>(characters: impl Iterator<Item = &'c char>, columns: usize) -> usize {
    let mut used = 0;
    characters
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .count()
}

/// Cuts a line to `columns`; a line that was cut ends with `dots`.
pub(super) fn cut(line: &str, columns: usize, dots: &str) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let characters: Vec<char> = line.chars().collect();
    let fits = fitting(characters.iter(), columns.saturating_sub(dots.width()));
    format!("{}{dots}", characters[..fits].iter().collect::<String>())
}

/// Wraps a text between words. Its first line begins at column `used`, the others are indented by `indent`.
///
/// A word is never cut, even if it is wider than `columns`: somebody may want to copy it. A number and its unit, and what
/// stands between backquotes, count as one word.
pub(super) fn wrap(text: &str, used: usize, indent: usize, columns: usize) -> String {
    let mut wrapped = String::new();
    let mut at = used;
    let mut is_first = true;
    for word in words(text) {
        let width = word.width();
        if at + usize::from(!is_first) + width > columns && at > indent {
            // No blank at the end of a line.
            wrapped.truncate(wrapped.trim_end_matches(' ').len());
            wrapped.push_str(&format!("\n{}", " ".repeat(indent)));
            at = indent;
        } else if !is_first {
            wrapped.push(' ');
            at += 1;
        }
        wrapped.push_str(word);
        at += width;
        is_first = false;
    }
    wrapped
}

/// The words of a text, as [`wrap`] counts them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (word, behind) = text.split_at(end_of_word(text));
        rest = behind.strip_prefix(' ');
        Some(word)
    })
}

/// Where the first word of a text ends.
fn end_of_word(text: &str) -> usize {
    let blank = |from: usize| text[from..].find(' ').map_or(text.len(), |at| from + at);
    let end = blank(0);
    let word = &text[..end];
    let is_number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    if is_number && end < text.len() {
        return blank(end + 1);
    }
    // A backquote without a second one quotes nothing.
    match word.matches('`').count() % 2 {
        1 => text[end..].find('`').map_or(end, |closing| blank(end + closing)),
        _ => end,
    }
}

/// Pads a text with blanks to `columns`.
pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_name_of_a_file_is_one_word() {
        for (path, word) in [
            ("pipelines/orders.yaml", "pipelines/orders.yaml"),
            ("my file.yaml", "'my file.yaml'"),
            ("it's; rm -rf ~", "\"it's; rm -rf ~\""),
            ("$(x)\0", "'$(x)\u{fffd}'"),
            ("-x.yaml", "./-x.yaml"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(path), word);
        }
    }

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
        assert_eq!(wrap("3 files, 4.0 KiB, 1.2 s", 10, 4, 20), "3 files,\n    4.0 KiB, 1.2 s");
        assert_eq!(wrap("4.0 KiB, 1.2 s", 0, 2, 12), "4.0 KiB,\n  1.2 s");
        assert_eq!(wrap("/a/very/long/path/that/is/copied", 10, 4, 20), "\n    /a/very/long/path/that/is/copied");
        assert_eq!(wrap("as it is", 10, 4, usize::MAX), "as it is");
    }

    #[test]
    fn what_is_quoted_stays_whole() {
        assert_eq!(wrap("then `tl run --resume` it", 0, 0, 12), "then\n`tl run --resume`\nit");
        assert_eq!(wrap("one two three fourfourfourfour", 2, 2, 12), "one two\n  three\n  fourfourfourfour");
        assert_eq!(wrap("a lone ` quotes nothing", 0, 0, 8), "a lone `\nquotes\nnothing");
    }

    proptest! {
        #[test]
        fn no_cut_line_is_too_wide_and_no_word_is_lost(text in "\\PC{0,60}", columns in 3_usize..50) {
            prop_assert!(cut(&text, columns, "…").width() <= columns);
            let words = |text: &str| text.split([' ', '\n']).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&wrap(&text, 0, 4, columns)), words(&text));
        }
    }
}

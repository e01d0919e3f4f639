use std::io::{self, IsTerminal};

use unicode_width::UnicodeWidthStr;

use crate::report::output::Output;
use crate::report::style::Style;
use crate::report::text::{HEIGHT, WIDTH, cut, plain, size_of, wrap};

/// The terminal or pipe that tables are written to.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// How text may look.
    pub style: Style,
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Whether it is a terminal, on which lines can be redrawn.
    pub is_terminal: bool,
}

impl Screen {
    /// Standard output: as wide as `COLUMNS` says, else as the terminal is.
    pub fn of(output: &Output) -> Self {
        let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
        let size = size_of(io::stdout());
        let width = columns().filter(|width| *width > 0).or(size.map(|(width, _)| width)).unwrap_or(WIDTH);
        let height = size.map_or(HEIGHT, |(_, height)| height);
        Self { style: output.style(), width, height, is_terminal: io::stdout().is_terminal() }
    }

    /// For tests: `width` columns, without colours.
    #[cfg(test)]
    pub(crate) fn plain(width: usize, unicode: bool) -> Self {
        Self { style: Style { colour: false, unicode }, width, height: HEIGHT, is_terminal: false }
    }

    /// Cuts a text to one line of `width` columns.
    pub(super) fn fit(self, text: &str, width: usize) -> String {
        // Two dots, not the three of other texts: a narrow column has no room for more.
        let dots = if self.style.unicode { "…" } else { ".." };
        cut(&plain(text).replace('\t', " "), width, dots)
    }

    /// Wraps a text to the width of the screen. Each line is indented and has a line end.
    pub(super) fn wrap(self, text: &str, indent: usize) -> String {
        format!("{:indent$}{}\n", "", wrap(&plain(text), indent, indent, self.width))
    }
}

/// The colour of a cell, by meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Worth,
    Bad,
    Faint,
}

impl Tone {
    /// The tone of an outcome, or of `running` or `interrupted`.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "success" => Self::Good,
            "warning" | "running" => Self::Worth,
            "failure" | "blocked" | "interrupted" => Self::Bad,
            _ => Self::Faint,
        }
    }

    pub(super) fn paint(self, text: &str, style: Style) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Good => style.green(text),
            Self::Worth => style.yellow(text),
            Self::Bad => style.red(text),
            Self::Faint => style.faint(text),
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A cell aligned to the right, for numbers.
    pub(super) fn right(text: impl Into<String>) -> Self {
        Self { right: true, ..Self::new(text) }
    }

    pub(super) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// An outcome, in its colour.
    pub(super) fn outcome(word: &str) -> Self {
        Self::new(word).tone(Tone::of(word))
    }
}

/// No column is cut below this width.
const NARROWEST: usize = 4;

/// Rows as lines, with two spaces between columns. If they are wider than the screen, the columns in `may_be_cut` are cut,
/// widest first.
pub(super) fn table(rows: &[Vec<Cell>], indent: usize, may_be_cut: &[usize], screen: Screen) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let wide = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column)).map(|cell| plain(&cell.text).width());
        widths.max().unwrap_or_default()
    };
    let mut widths: Vec<usize> = (0..columns).map(wide).collect();
    let total = |widths: &[usize]| {
        let used = widths.iter().filter(|width| **width > 0).count();
        indent + widths.iter().sum::<usize>() + 2 * used.saturating_sub(1)
    };
    while total(&widths) > screen.width {
        let widest = may_be_cut.iter().copied().filter(|at| *at < columns).max_by_key(|at| widths[*at]);
        match widest.filter(|at| widths[*at] > NARROWEST) {
            Some(at) => widths[at] -= 1,
            None => break,
        }
    }
    let line = |row: &Vec<Cell>| {
        let mut line = " ".repeat(indent);
        let mut pending = 0;
        for (cell, width) in row.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            let text = screen.fit(&cell.text, *width);
            let padding = width.saturating_sub(text.width());
            let (before, after) = if cell.right { (padding, 0) } else { (0, padding) };
            if text.is_empty() {
                pending += before;
            } else {
                line.push_str(&" ".repeat(pending + before));
                line.push_str(&cell.tone.paint(&text, screen.style));
                pending = 0;
            }
            pending += after + 2;
        }
        line + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_fit() {
        let rows = [
            vec![Cell::outcome("success"), Cell::new("注文_nightly"), Cell::right("1.5 s"), Cell::new("")],
            vec![Cell::outcome("failure"), Cell::new("a\x1b[2Jb\n"), Cell::right("12 min 3 s"), Cell::new("why")],
        ];
        let wide = "success  注文_nightly       1.5 s\nfailure  a\u{fffd}[2Jb\u{fffd}       12 min 3 s  why\n";
        assert_eq!(table(&rows, 0, &[1], Screen::plain(80, true)), wide);
        let narrow = table(&rows, 2, &[1], Screen::plain(32, true));
        assert_eq!(narrow, "  success  注…        1.5 s\n  failure  a\u{fffd}[…  12 min 3 s  why\n");
        assert!(narrow.lines().all(|line| line.width() <= 32), "{narrow}");
        let ascii = table(&rows[..1], 0, &[1], Screen::plain(25, false));
        assert_eq!(ascii, "success  注文_ni..  1.5 s\n");
    }
}

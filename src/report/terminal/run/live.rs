use std::io;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::tree::Tree;
use crate::event::{Event, What};
use crate::report::style::Style;
use crate::report::text::size_of;
use crate::trace;

/// The picture of running stages, below the printed lines, on the terminal of standard error.
pub(in crate::report) struct Live {
    bar: ProgressBar,
    tree: Tree,
    began: Instant,
    style: Style,
}

impl Live {
    /// `None` if standard error is no terminal, cannot redraw lines, or receives the log.
    pub(super) fn new(style: Style) -> Option<Self> {
        if trace::is_on_terminal() {
            return None;
        }
        size_of(io::stderr())?;
        let bar = ProgressBar::new_spinner();
        if bar.is_hidden() {
            return None;
        }
        bar.set_style(ProgressStyle::with_template("{msg}").ok()?);
        Some(Self { bar, tree: Tree::default(), began: Instant::now(), style })
    }

    pub(super) fn take(&mut self, event: &Event) {
        self.tree.take(&event.what, self.began.elapsed());
        if matches!(event.what, What::RunEnded { .. }) {
            self.bar.finish_and_clear();
        } else {
            self.draw();
        }
    }

    /// Redraws the picture, with the time that has passed.
    pub(super) fn draw(&self) {
        if self.bar.is_finished() {
            return;
        }
        let Some((columns, rows)) = size_of(io::stderr()) else { return };
        // The last column and row stay free, because a terminal would begin a new line there.
        let size = (columns.saturating_sub(1), rows.saturating_sub(1));
        self.bar.set_message(self.tree.lines(self.began.elapsed(), size, self.style).join("\n"));
    }

    /// Prints something above the picture.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

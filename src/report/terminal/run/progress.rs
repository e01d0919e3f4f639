use std::io::{self, IsTerminal, Read};

use indicatif::{ProgressBar, ProgressStyle};

/// A reader that shows on a terminal how much was read. It shows nothing where standard error is no terminal.
pub struct Progress<R> {
    from: R,
    bar: Option<ProgressBar>,
}

impl<R: Read> Progress<R> {
    /// Reads from `from`, which has `total` bytes, if that is known.
    pub fn new(from: R, total: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let known = "  {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
            let unknown = "  {spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(if total.is_some() { known } else { unknown }) {
                bar.set_style(style);
            }
            bar
        });
        Self { from, bar }
    }
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if let Some(bar) = &self.bar {
            bar.inc(read as u64);
        }
        Ok(read)
    }
}

impl<R> Drop for Progress<R> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

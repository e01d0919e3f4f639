use std::io::Write;

use crate::event::Event;
use crate::report::reporter::Reporter;

/// One line of JSON for each event.
pub struct JsonLines<W>(W);

impl<W: Write + Send> JsonLines<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self(to)
    }
}

impl<W: Write + Send> Reporter for JsonLines<W> {
    fn event(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            // The stream keeps the error; the run continues.
            let _lost = writeln!(self.0, "{line}").and_then(|()| self.0.flush());
        }
    }
}

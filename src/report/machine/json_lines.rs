use std::io::Write;

use crate::event::Event;
use crate::report::reporter::Reporter;

/// One event, one line of JSON.
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
            // The run goes on all the same; the stream remembers what is lost.
            let _lost = writeln!(self.0, "{line}").and_then(|()| self.0.flush());
        }
    }
}

//! Renders what people and machines read, and owns all output.
//!
//! Diagnostics, events, plans and records flow in; text and JSON flow out through a [`Output`]. Nothing is decided here.

mod audit;
mod diagnostic;
mod human;
mod json;
mod output;
mod plan;

pub use audit::{render_record, render_report};
pub use diagnostic::render_diagnostic;
pub use human::Human;
pub use json::JsonLines;
pub use output::{Output, Style, on_panic};
pub use plan::render_plan;

use crate::event::Event;

/// Shows the events of a run.
pub trait Reporter: Send {
    /// Shows one event.
    fn event(&mut self, event: &Event);
}

/// A text without what would steer a terminal: control characters other than tabs and line ends, and bidi overrides.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect()
}

fn is_steering(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

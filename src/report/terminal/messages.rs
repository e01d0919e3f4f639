use serde_json::{Map, Value as Json};

use crate::inspect::Preview;
use crate::report::style::Style;
use crate::report::text::plain;

/// A message, with its recipients.
pub fn render_preview(preview: &Preview, style: Style) -> String {
    let to = if preview.to.is_empty() {
        "to nobody: no entry of `notify` has it".to_owned()
    } else {
        format!("to {}", preview.to.join(", "))
    };
    format!("{}\n{}\n\n{}", style.faint(&plain(&to)), preview.subject, preview.body)
}

/// The outbox, one message a line.
pub fn render_outbox(entries: &[Map<String, Json>], style: Style) -> String {
    let text = |entry: &Map<String, Json>, key: &str| match entry.get(key) {
        Some(Json::String(text)) => plain(text),
        Some(Json::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let line = |entry: &Map<String, Json>| {
        let state = text(entry, "state");
        let attempts = match text(entry, "attempts").as_str() {
            "1" => "1 attempt".to_owned(),
            attempts => format!("{attempts} attempts"),
        };
        let (state, rest) = match state.as_str() {
            "delivered" => {
                (style.green("delivered"), format!("{} {}", text(entry, "delivered_at"), text(entry, "answer")))
            }
            "dead" => (style.red("dead     "), text(entry, "last_error")),
            _ => {
                (style.yellow("pending  "), format!("next at {} {}", text(entry, "next_at"), text(entry, "last_error")))
            }
        };
        let (id, channel) = (text(entry, "id"), text(entry, "channel"));
        format!("{state} {id} to {channel}, {attempts}: {}\n", rest.trim_end())
    };
    entries.iter().map(line).collect()
}

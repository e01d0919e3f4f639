//! Reports for programs.
//!
//! In: events of a run, and what commands found. Out: one JSON object a line for each event, as
//! `schemas/event.v1.schema.json` says, and one JSON value for each answer. A value that cannot be written is an error, never
//! `null`.

mod json;
mod json_lines;

pub use json::{render_json, render_json_line};
pub use json_lines::JsonLines;

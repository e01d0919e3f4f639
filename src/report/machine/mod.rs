//! Reports for programs.
//!
//! In: events of a run. Out: one JSON object a line, as `schemas/event.v1.schema.json` says.

mod json_lines;

pub use json_lines::JsonLines;

use serde::Serialize;

use crate::diagnostic::{Diagnostic, codes};

/// A value as JSON that people can read too. Fails for what JSON cannot hold, such as a path that is not UTF-8.
pub fn render_json(value: &impl Serialize) -> Result<String, Vec<Diagnostic>> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| not_json(&error))
}

/// A value as JSON on one line.
pub fn render_json_line(value: &impl Serialize) -> Result<String, Vec<Diagnostic>> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(|error| not_json(&error))
}

fn not_json(error: &serde_json::Error) -> Vec<Diagnostic> {
    let message = "what was to be printed cannot be written as JSON";
    vec![Diagnostic::failure(codes::TL0716, message).cause(error).help("leave out `--json` to read it as text")]
}

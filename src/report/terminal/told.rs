use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Kind, Severity, codes};

/// A problem that a journal holds, as it was told when it happened.
pub(super) fn told(problem: &Json) -> Diagnostic {
    let text = |key: &str| problem[key].as_str().map(str::to_owned);
    let word = problem["code"].as_str().unwrap_or_default();
    let code = word.parse().unwrap_or(codes::TL0901);
    let mut diagnostic = Diagnostic::new(code, Kind::Failure, text("message").unwrap_or_else(|| problem.to_string()));
    if problem["severity"] == "warning" {
        diagnostic.severity = Severity::Warning;
    }
    diagnostic.label = text("label");
    diagnostic.help = text("help");
    let causes = problem["causes"].as_array().into_iter().flatten();
    diagnostic.causes = causes.filter_map(Json::as_str).map(str::to_owned).collect();
    if let Some(place) = problem["place"].as_object() {
        let at =
            |key: &str| place.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let [file, line, column] = ["file", "line", "column"].map(|key| at(key).unwrap_or_default());
        diagnostic.causes.insert(0, format!("{file}:{line}:{column}"));
    }
    diagnostic
}

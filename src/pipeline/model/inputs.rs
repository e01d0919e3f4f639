//! Resolves inputs from the command line.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::pipeline::Input;
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::did_you_mean;
use crate::stages::OutputType;
use crate::value::Name;

/// The value of each input: the given one, else its default. Fails with every error.
pub fn resolve_inputs(
    declared: &IndexMap<Name, Input>,
    given: &BTreeMap<String, String>,
) -> Result<Map<String, Json>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    for name in given.keys().filter(|name| !declared.contains_key(name.as_str())) {
        let diagnostic = Diagnostic::usage(codes::TL0501, format!("this pipeline has no input `{name}`"));
        let known: Vec<&str> = declared.keys().map(Name::as_str).collect();
        found.push(match did_you_mean(name, known.iter().copied()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None if known.is_empty() => diagnostic.help("it declares no inputs"),
            None => diagnostic.help(format!("it has {}", known.join(", "))),
        });
    }
    let mut values = Map::new();
    for (name, input) in declared {
        let value = match (given.get(name.as_str()), &input.default) {
            (Some(text), _) => parse(name, input, text),
            (None, Some(default)) => Ok(of_kind(input.kind, default)),
            (None, None) => Err(Diagnostic::usage(codes::TL0502, format!("the input `{name}` is missing"))
                .help(format!("give it: `--input {name}=…`"))),
        };
        match value {
            Ok(value) => {
                values.insert(name.to_string(), value);
            }
            Err(diagnostic) => found.push(diagnostic),
        }
    }
    if found.is_empty() { Ok(values) } else { Err(found) }
}

fn parse(name: &Name, input: &Input, text: &str) -> Result<Json, Diagnostic> {
    let value = match input.kind {
        OutputType::String => Some(Json::from(text)),
        OutputType::Int => text.parse::<i64>().ok().map(Json::from),
        OutputType::Number => text.parse().ok().and_then(serde_json::Number::from_f64).map(Json::Number),
        OutputType::Bool => text.parse::<bool>().ok().map(Json::from),
    };
    let kind = serde_json::to_value(input.kind).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default();
    let value = value.ok_or_else(|| {
        Diagnostic::usage(
            codes::TL0503,
            format!("the input `{name}` is of type {kind}, and `{}` is not", text.escape_debug()),
        )
    })?;
    match &input.choices {
        Some(choices) if !choices.iter().any(|choice| of_kind(input.kind, choice) == value) => {
            let known: Vec<String> = choices.iter().map(ToString::to_string).collect();
            Err(Diagnostic::usage(codes::TL0503, format!("the input `{name}` cannot be {value}"))
                .help(format!("it may be {}", known.join(", "))))
        }
        _ => Ok(value),
    }
}

/// A literal as a value of the declared type. For a `number`, `3` becomes `3.0`, since CEL does not mix ints and doubles.
fn of_kind(kind: OutputType, literal: &Json) -> Json {
    match (kind, literal.as_f64().and_then(serde_json::Number::from_f64)) {
        (OutputType::Number, Some(number)) => Json::Number(number),
        _ => literal.clone(),
    }
}

/// Whether a literal of the file has the declared type.
pub(in crate::pipeline) fn fits(kind: &str, value: &Json) -> bool {
    match kind {
        "string" => value.is_string(),
        "int" => value.is_i64(),
        "number" => value.is_number(),
        "bool" => value.is_boolean(),
        // The schema reports an unknown type.
        _ => true,
    }
}

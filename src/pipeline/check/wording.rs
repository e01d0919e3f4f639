//! Wording of messages about values, types and names.

use jsonschema::error::TypeKind;
use serde_json::Value as Json;

use super::schema::{DURATION, POSITIVE, RECIPIENT};
use crate::diagnostic::{Diagnostic, codes};
use crate::pipeline::read::{field_of, hide_identities};
use crate::stages;
use crate::value::{Duration, Name};

/// What a schema asks for, if its type alone says too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Artifact,
    Duration,
    /// A duration above zero.
    Positive,
    /// A text that is not blank.
    Words,
    Size,
    Percent,
    Recipient,
    Name,
    Shell,
    Other,
}

impl Expected {
    pub(super) fn by(schema: &Json) -> Self {
        match schema["pattern"].as_str().unwrap_or_default() {
            _ if schema["x-tl-type"] == "artifact" => Self::Artifact,
            _ if schema["x-tl-type"] == "size" => Self::Size,
            _ if schema["x-tl-type"] == "percent" => Self::Percent,
            pattern if pattern.starts_with(DURATION) => Self::Duration,
            pattern if pattern.starts_with(POSITIVE) => Self::Positive,
            pattern if pattern.starts_with(RECIPIENT) => Self::Recipient,
            r"\S" => Self::Words,
            "^[a-z][a-z0-9_]*$" => Self::Name,
            "^[A-Za-z0-9_./-]+$" => Self::Shell,
            _ => Self::Other,
        }
    }
}

/// The name of the value at a pointer, for messages.
pub(super) fn called(at: &str) -> String {
    let field = field_of(at);
    let last = at.rsplit('/').next().unwrap_or_default();
    let is_item = last.parse::<usize>().is_ok();
    if is_item { format!("an item of `{field}`") } else { format!("`{}`", field.escape_debug()) }
}

/// The error for a value of the wrong type.
pub(super) fn wrong_type(kind: &TypeKind, at: &str, value: &Json, expected: Expected) -> Diagnostic {
    let wanted: Vec<String> = match kind {
        TypeKind::Single(one) => vec![one.to_string()],
        TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect(),
    };
    let wants = |kind: &str| wanted.iter().any(|wanted| wanted == kind);
    let parts: Vec<&str> = at.split('/').skip(1).collect();
    let words = match (expected, parts.as_slice()) {
        (Expected::Duration | Expected::Positive, _) if !value.is_null() => {
            let diagnostic = Diagnostic::usage(codes::TL0205, format!("{} is not a duration", short(value)));
            return match value.as_u64() {
                Some(number) => diagnostic.help(format!("say the unit: `{number}s`, `{number}m`, `{number}h`")),
                None => diagnostic.help(DURATIONS),
            };
        }
        (Expected::Size, _) if !value.is_null() => return not_a_size(value),
        (Expected::Percent, _) if !value.is_null() => return not_a_share(value),
        (Expected::Duration | Expected::Positive, _) => "a duration",
        (Expected::Size, _) => "a size",
        (Expected::Percent, _) => "a share",
        (Expected::Artifact, _) => "an artifact",
        (Expected::Name, _) => "a name",
        (_, ["stages" | "finally", _, "needs"]) => "the name of a stage, or a list of names",
        (_, ["stages" | "finally", _, "run"]) => "a list of a program and its arguments, or a text for a shell",
        (_, ["stages" | "finally", _, "env", _]) => "a text, a number, or true or false",
        _ if wants("object") => "a map",
        _ if wants("array") => "a list",
        _ if wants("string") => "a text",
        _ if wants("integer") => "a whole number",
        _ if wants("number") => "a number",
        _ => "true or false",
    };
    let diagnostic = Diagnostic::usage(codes::TL0201, format!("{} must be {words}, not {}", called(at), short(value)));
    match (value, expected) {
        (Json::Null, _) => diagnostic.help("give it a value, or leave it out"),
        (_, Expected::Artifact) => diagnostic.help(ARTIFACTS),
        (_, Expected::Name) => diagnostic.help("a name is a lower-case letter, then letters, digits and `_`"),
        _ => match way_out(&wants, &parts, value) {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        },
    }
}

const DURATIONS: &str = "a whole number and one of ms, s, m, h, d: `90s`, `30m`, `2h`, `7d`";
const ARTIFACTS: &str = "give it the output of a stage: `${{ needs.STAGE.outputs.artifact }}`";

/// How to write a value of the wrong type correctly.
fn way_out(wants: &dyn Fn(&str) -> bool, parts: &[&str], value: &Json) -> Option<String> {
    let scalar = match value {
        Json::String(text) if text.len() <= 40 && !text.contains('\n') => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match (value, parts) {
        (Json::String(kind), ["stages" | "finally", name]) if stages::find(kind).is_some() => {
            Some(format!("write `{name}: {{ uses: {kind} }}`"))
        }
        (_, [section]) if wants("object") && *section != "defaults" => {
            Some(format!("in `{section}` each one stands under its name: `NAME: …`"))
        }
        (_, [_, _, "with"]) => Some("write each setting as `KEY: value`".to_owned()),
        (_, [.., "retry"]) if value.is_u64() => Some(format!("write `retry: {{ attempts: {value} }}`")),
        (_, ["stages" | "finally", _, "outputs"]) => Some("write each output as `NAME: type`".to_owned()),
        (Json::Array(_), [.., "env"]) => Some("write each variable as `NAME: value`".to_owned()),
        (Json::Object(_), _) if wants("array") && !wants("string") => {
            Some("begin each item of a list with `-`".to_owned())
        }
        (Json::Number(_) | Json::Bool(_), _) if wants("string") => Some(format!("put it in quotes: `\"{value}\"`")),
        (Json::String(text), _) if wants("integer") && text.parse::<i64>().is_ok() => {
            Some("leave out the quotes".to_owned())
        }
        (Json::String(_), _) if wants("boolean") => Some("write `true` or `false`, without quotes".to_owned()),
        _ if wants("array") && !wants("string") => scalar.map(|scalar| format!("write it as a list: `[{scalar}]`")),
        _ => None,
    }
}

fn not_a_size(value: &Json) -> Diagnostic {
    Diagnostic::usage(codes::TL0205, format!("{} is not a size", short(value)))
        .help("a whole number and one of B, KB, KiB, MB, MiB, GB, GiB, TB, TiB, such as `64MiB`")
}

fn not_a_share(value: &Json) -> Diagnostic {
    let message = format!("{} is not a share", short(value));
    Diagnostic::usage(codes::TL0205, message).help("a whole number above zero and `%`, such as `50%`")
}

/// The error for a text of the wrong form.
pub(super) fn bad_form(at: &str, value: &Json, expected: Expected) -> Diagnostic {
    match expected {
        Expected::Positive if value.as_str().is_some_and(|text| text.parse::<Duration>().is_ok()) => {
            let message = format!("{} must be longer than zero, not {}", called(at), short(value));
            let more = if field_of(at) == "timeout" { ", or leave it out" } else { "" };
            Diagnostic::usage(codes::TL0206, message).help(format!("say how long, such as `30m`{more}"))
        }
        Expected::Duration | Expected::Positive => {
            Diagnostic::usage(codes::TL0205, format!("{} is not a duration", short(value))).help(DURATIONS)
        }
        Expected::Words => {
            let what = if value == "" { "empty" } else { "blank" };
            Diagnostic::usage(codes::TL0206, format!("{} must not be {what}", called(at)))
        }
        Expected::Size => not_a_size(value),
        Expected::Percent => not_a_share(value),
        Expected::Artifact => {
            Diagnostic::usage(codes::TL0303, format!("{} must be an artifact, not {}", called(at), short(value)))
                .help(ARTIFACTS)
        }
        Expected::Name => {
            let name = value.as_str().unwrap_or_default();
            match suggested_name(name) {
                Some(fixed) => bad_name(name).label(format!("`{fixed}` would do")),
                None => bad_name(name),
            }
        }
        Expected::Shell => Diagnostic::usage(codes::TL0205, format!("{} does not name a shell", short(value)))
            .help("a program such as `sh` or `/bin/bash`, without arguments; `set -e` is for the script"),
        Expected::Other if value.as_str().is_some_and(|text| text.starts_with('~')) => {
            let message = format!("{} begins with `~`, which is no folder here", short(value));
            Diagnostic::usage(codes::TL0205, message).help("write the whole path, or `./~` for a name that begins so")
        }
        Expected::Recipient | Expected::Other => {
            Diagnostic::usage(codes::TL0205, format!("{} is not what {} can be", short(value), called(at)))
        }
    }
}

/// The error for a text that cannot be a name.
pub(super) fn bad_name(name: &str) -> Diagnostic {
    let shown: String = name.escape_debug().to_string();
    let message = match name.parse::<Name>() {
        Err(error) => error.to_string().replace(name, &shown),
        Ok(_) => format!("`{name}` cannot be a name here"),
    };
    let message = if name.is_empty() { "a name must not be empty".to_owned() } else { message };
    Diagnostic::usage(codes::TL0204, message)
}

/// Suggests a valid name for a text that is not one.
pub(super) fn suggested_name(text: &str) -> Option<Name> {
    text.to_lowercase().replace(['-', '.', ' '], "_").parse().ok()
}

/// A short form of a value, for messages.
pub(super) fn short(value: &Json) -> String {
    match value {
        Json::Null => "nothing".to_owned(),
        Json::Object(_) => "a map".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::String(text) => {
            let shown = hide_identities(text);
            let cut: String = shown.chars().take(70).collect();
            let dots = if cut.len() < shown.len() { "…" } else { "" };
            format!("`{}{dots}`", cut.escape_debug())
        }
        other => format!("`{other}`"),
    }
}

/// How many names a help line lists. Nobody reads ten thousand.
const MAX_LISTED: usize = 40;

/// The names in backticks, separated by commas.
pub(super) fn listed<T: AsRef<str>>(words: &[T]) -> String {
    let shown = words.iter().take(MAX_LISTED).map(|word| format!("`{}`", word.as_ref().escape_debug()));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match words.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

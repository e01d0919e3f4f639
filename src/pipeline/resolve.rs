//! Resolves the expressions in settings at the moment the settings are needed.

use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use super::check::follow;
use super::model::expressions_in;
use super::read::{Document, entries, escape, normalized};
use crate::diagnostic::codes;
use crate::expression::{self, Expression, ExpressionError, Template, Values};

/// An expression that has no value, and its place below the settings.
#[derive(Debug)]
pub struct Failure {
    /// JSON pointer below the resolved settings.
    pub pointer: String,
    /// What is wrong.
    pub error: ExpressionError,
}

/// Replaces each expression by its value and makes each path absolute. `schema` says which texts are paths. `at` is the
/// pointer of the value in the document.
pub fn resolve(value: &Json, schema: &Json, values: &Values, document: &Document, at: &str) -> Result<Json, Failure> {
    let base = |below: &str| document.folder_of(&format!("{at}{below}")).to_owned();
    resolve_at("", value, schema, &schema["definitions"], values, &base)
}

fn resolve_at(
    pointer: &str,
    value: &Json,
    schema: &Json,
    definitions: &Json,
    values: &Values,
    base: &dyn Fn(&str) -> PathBuf,
) -> Result<Json, Failure> {
    let schema = follow(schema, definitions);
    Ok(match value {
        Json::String(text) => {
            let value = if Template::is_in(text) {
                Template::parse(text)
                    .and_then(|template| expression::resolve(&template, values))
                    .map_err(|error| Failure { pointer: pointer.to_owned(), error })?
            } else {
                value.clone()
            };
            match (value, schema["x-tl-type"] == "path") {
                (Json::String(path), true) => as_shown(base(pointer).join(path)).to_string_lossy().into_owned().into(),
                (value, _) => value,
            }
        }
        Json::Array(items) => {
            let item = |(index, item)| {
                resolve_at(&format!("{pointer}/{index}"), item, &schema["items"], definitions, values, base)
            };
            Json::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Json::Object(map) => {
            let mut resolved = Map::new();
            for (key, item) in map {
                let field = &schema["properties"][key];
                let item = resolve_at(&format!("{pointer}/{}", escape(key)), item, field, definitions, values, base)?;
                resolved.insert(key.clone(), item);
            }
            Json::Object(resolved)
        }
        other => other.clone(),
    })
}

/// A scalar as text for an argument or a variable.
pub fn scalar_text(value: Json) -> String {
    match value {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// Resolves one argument of a program. Whatever its value holds, it stays one argument and must not become an option.
pub fn resolve_argument(text: &str, values: &Values) -> Result<String, ExpressionError> {
    let template = Template::parse(text)?;
    let value = scalar_text(expression::resolve(&template, values)?);
    let place = template.expressions().next().map_or((0, 1), Expression::place);
    if value.starts_with('-') && !text.starts_with('-') {
        let message =
            "this expression gives an argument that begins with `-`, which the program would take for an option";
        return Err(ExpressionError::new(codes::TL0653, place, message));
    }
    if value.contains('\0') {
        return Err(ExpressionError::new(codes::TL0653, place, "this expression gives an argument with a NUL in it"));
    }
    Ok(value)
}

/// The paths in resolved settings, by their schema.
pub fn paths_in(value: &Json, schema: &Json) -> Vec<PathBuf> {
    named_in(value, schema, "path").into_iter().map(PathBuf::from).collect()
}

/// The texts in settings that their schema marks as a `path`, a `store` or a `channel`.
pub fn named_in(value: &Json, schema: &Json, what: &str) -> Vec<String> {
    fn gather(value: &Json, schema: &Json, definitions: &Json, what: &str, found: &mut Vec<String>) {
        let schema = follow(schema, definitions);
        match value {
            Json::String(text) if schema["x-tl-type"] == what => found.push(text.clone()),
            Json::Array(items) => {
                items.iter().for_each(|item| gather(item, &schema["items"], definitions, what, found));
            }
            Json::Object(map) => {
                map.iter().for_each(|(key, item)| gather(item, &schema["properties"][key], definitions, what, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    gather(value, schema, &schema["definitions"], what, &mut found);
    found
}

/// A path without `..`, for messages. If the shorter path does not exist, the path stays as it is.
fn as_shown(path: PathBuf) -> PathBuf {
    let tidy = normalized(&path);
    if tidy.exists() { tidy } else { path }
}

/// Whether an expression of a checked file uses a context, such as `git`. tl asks `git` only if a file uses it. A run
/// outside a repository is then refused, since an empty commit in an object key would be a silent error.
pub fn uses_context(document: &Document, context: &str) -> bool {
    let file = document.value();
    let conditions = ["stages", "finally"]
        .into_iter()
        .flat_map(|section| entries(file, section))
        .filter_map(|(_, stage)| expression::Expression::parse(stage["if"].as_str()?, 0).ok());
    expressions_in(file)
        .into_iter()
        .chain(conditions)
        .any(|expression| expression.roots().iter().any(|root| root == context))
}

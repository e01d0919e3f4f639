//! Expressions where none is read, and texts that were meant as expressions.

use serde_json::Value as Json;

use super::check::{Checker, field_of};
use super::events::escape;
use super::start::is_start;
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::Template;

impl Checker<'_> {
    /// Expressions where none is read.
    pub(super) fn stray_expressions(&mut self, pointer: &str, value: &Json) {
        match value {
            Json::String(text) if !Template::is_in(text) && foreign_expression(text).is_some() => {
                let (offset, length) = foreign_expression(text).unwrap_or_default();
                self.find(
                    Diagnostic::usage(codes::TL0317, "this is a text: an expression begins with `${{`")
                        .at(self.document.inside(pointer, offset, length))
                        .help("write `${{ … }}`"),
                );
            }
            Json::String(text) if is_stray(pointer, text) => {
                let (offset, length) = first_expression(text).unwrap_or_default();
                self.find(
                    Diagnostic::usage(codes::TL0307, format!("an expression cannot stand in `{}`", field_of(pointer)))
                        .at(self.document.inside(pointer, offset, length))
                        .help("expressions stand in `with`, `env`, `if`, `matrix`, the arguments of `run`, times, counts and groups"),
                );
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.stray_expressions(&format!("{pointer}/{index}"), item);
                }
            }
            Json::Object(map) => {
                for (key, item) in map {
                    self.stray_expressions(&format!("{pointer}/{}", escape(key)), item);
                }
            }
            _ => {}
        }
    }
}

/// Whether a text holds an expression where none is read. It is reported once, whatever else it is not.
pub(super) fn is_stray(pointer: &str, text: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let may_hold = match parts.as_slice() {
        ["stages" | "finally", _, key, ..] if matches!(*key, "with" | "env" | "run" | "if") => true,
        ["stages" | "finally", _, "strategy", "matrix", ..] | ["stores" | "channels", _, "with", ..] => true,
        _ => is_start(pointer),
    };
    !may_hold && Template::is_in(text)
}

/// Where a text has an expression as other tools write it: `{{ … }}` around one of our names.
fn foreign_expression(text: &str) -> Option<(usize, usize)> {
    const NAMES: [&str; 7] = ["inputs.", "secrets.", "needs.", "matrix.", "env.", "git.", "run."];
    let start = text.find("{{").filter(|&start| !text[..start].ends_with('$'))?;
    let inner = text[start + 2..].trim_start();
    let length = text[start..].find("}}").map(|end| text[start..start + end].chars().count() + 2)?;
    NAMES.iter().any(|name| inner.starts_with(name)).then(|| (text[..start].chars().count(), length))
}

/// Where the first `${{ … }}` of a text stands, in characters.
pub(super) fn first_expression(text: &str) -> Option<(usize, usize)> {
    let start = text.find("${{")?;
    let length = text[start..].find("}}").map_or(3, |end| text[start..start + end].chars().count() + 2);
    Some((text[..start].chars().count(), length))
}

//! Reports expressions at places where none is evaluated, and texts that were meant as expressions.

use serde_json::Value as Json;

use super::checker::Checker;
use super::sites::{first_expression, is_misplaced};
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::Template;
use crate::pipeline::read::{escape, field_of};

impl Checker<'_> {
    /// Reports every misplaced expression below a value.
    pub(super) fn misplaced_expressions(&mut self, pointer: &str, value: &Json) {
        match value {
            Json::String(text) if !Template::is_in(text) && foreign_expression(text).is_some() => {
                let (offset, length) = foreign_expression(text).unwrap_or_default();
                self.report(
                    Diagnostic::usage(codes::TL0317, "this is a text: an expression begins with `${{`")
                        .at(self.document.inside(pointer, offset, length))
                        .help("write `${{ … }}`"),
                );
            }
            Json::String(text) if is_misplaced(pointer, text) => {
                let (offset, length) = first_expression(text).unwrap_or_default();
                self.report(
                    Diagnostic::usage(codes::TL0307, format!("an expression cannot stand in `{}`", field_of(pointer)))
                        .at(self.document.inside(pointer, offset, length))
                        .help("expressions stand in `with`, `env`, `if`, `matrix`, the arguments of `run`, times, counts and groups"),
                );
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.misplaced_expressions(&format!("{pointer}/{index}"), item);
                }
            }
            Json::Object(map) => {
                for (key, item) in map {
                    self.misplaced_expressions(&format!("{pointer}/{}", escape(key)), item);
                }
            }
            _ => {}
        }
    }
}

/// The offset and length of an expression in the form of other tools: `{{ … }}` around one of our names.
fn foreign_expression(text: &str) -> Option<(usize, usize)> {
    const NAMES: [&str; 7] = ["inputs.", "secrets.", "needs.", "matrix.", "env.", "git.", "run."];
    let start = text.find("{{").filter(|&start| !text[..start].ends_with('$'))?;
    let inner = text[start + 2..].trim_start();
    let length = text[start..].find("}}").map(|end| text[start..start + end].chars().count() + 2)?;
    NAMES.iter().any(|name| inner.starts_with(name)).then(|| (text[..start].chars().count(), length))
}

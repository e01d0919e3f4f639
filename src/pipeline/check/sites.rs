//! The sites of expressions: the keys that may hold them, and their positions in a text.

use crate::expression::{Expression, Scope, Template, Type, check};

/// The contexts whose values are known when a run starts, for messages.
pub(super) const START_CONTEXTS: &str = "`inputs`, `host`, `git` and `ci`";

/// Whether the value at a pointer is a setting that is resolved when a run starts.
pub(in crate::pipeline) fn is_known_at_start(pointer: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let is_retry = |key: &str| matches!(key, "attempts" | "delay" | "factor" | "max-delay");
    match parts.as_slice() {
        ["timeout" | "max-parallel"]
        | ["concurrency", "group" | "if-busy" | "wait"]
        | ["defaults", "timeout" | "on-warning"]
        | ["stages" | "finally", _, "timeout" | "continue-on-error" | "on-warning"]
        | ["stages" | "finally", _, "strategy", "fail-fast" | "max-parallel"] => true,
        ["defaults", "retry", key] | ["stages" | "finally", _, "retry", key] => is_retry(key),
        _ => false,
    }
}

/// Whether a text holds an expression at a pointer where none is evaluated. This is reported once, and no other error of
/// the same text.
pub(super) fn is_misplaced(pointer: &str, text: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let may_hold = match parts.as_slice() {
        ["stages" | "finally", _, key, ..] if matches!(*key, "with" | "env" | "run" | "if") => true,
        ["stages" | "finally", _, "strategy", "matrix", ..] | ["stores" | "channels", _, "with", ..] => true,
        _ => is_known_at_start(pointer),
    };
    !may_hold && Template::is_in(text)
}

/// The offset and length of the first `${{ … }}` of a text, in characters.
pub(super) fn first_expression(text: &str) -> Option<(usize, usize)> {
    let start = text.find("${{")?;
    let length = text[start..].find("}}").map_or(3, |end| text[start..start + end].chars().count() + 2);
    Some((text[..start].chars().count(), length))
}

/// The place of the first secret in a template.
pub(super) fn secret_in(template: &Template, scope: &Scope) -> (usize, usize) {
    let secret = template.expressions().find(|expression| check(expression, scope) == Ok(Type::Secret));
    secret.map_or_else(|| first_place(template), Expression::place)
}

/// The place of the first expression in a template.
pub(super) fn first_place(template: &Template) -> (usize, usize) {
    template.expressions().next().map_or((0, 1), Expression::place)
}

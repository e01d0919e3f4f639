//! Finds what a condition shows not to be null: in `x == null ? 'none' : x` the second `x` is not null.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators as op};

use super::template::path;

/// The paths that are not null if a condition is true, or, with `holds` false, if it is false.
pub(super) fn not_null(condition: &IdedExpr, holds: bool) -> Vec<Vec<String>> {
    let Expr::Call(call) = &condition.expr else { return Vec::new() };
    let is_null = |node: &IdedExpr| matches!(node.expr, Expr::Literal(LiteralValue::Null));
    let beside_null = |a, b| if is_null(b) { item_path(a) } else { item_path(b).filter(|_| is_null(a)) };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (op::EQUALS, [a, b]) if !holds => beside_null(a, b).into_iter().collect(),
        (op::NOT_EQUALS, [a, b]) if holds => beside_null(a, b).into_iter().collect(),
        (op::LOGICAL_AND, [a, b]) if holds => [not_null(a, true), not_null(b, true)].concat(),
        (op::LOGICAL_OR, [a, b]) if !holds => [not_null(a, false), not_null(b, false)].concat(),
        (op::LOGICAL_NOT, [a]) => not_null(a, !holds),
        _ => Vec::new(),
    }
}

/// The path of a node: names, and numbers of items as `[0]`.
pub(super) fn item_path(node: &IdedExpr) -> Option<Vec<String>> {
    match &node.expr {
        Expr::Select(select) => {
            let mut names = item_path(&select.operand)?;
            names.push(select.field.clone());
            Some(names)
        }
        Expr::Call(call) if call.func_name == op::INDEX => match call.args.as_slice() {
            [of, IdedExpr { expr: Expr::Literal(LiteralValue::Int(number)), .. }] => {
                let mut names = item_path(of)?;
                names.push(format!("[{}]", number.inner()));
                Some(names)
            }
            _ => path(node),
        },
        _ => path(node),
    }
}

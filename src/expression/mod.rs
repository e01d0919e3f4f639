//! Expressions: CEL inside `${{ }}`, and the bare one of an `if`.
//!
//! A text flows in. A [`Template`] with positions flows out; [`check()`] gives its type offline, against a [`Scope`], and
//! [`evaluate()`] its value, within a budget. Nothing here knows files, stages or the values of secrets: a secret is a type
//! that may flow only into fields that allow it.
//!
//! The crate `cel` is used in this folder only. Its default parser (ANTLR) is used, since only that parser gives the
//! position of each node, and an error without a place is half an error.

mod check;
mod error;
mod evaluate;
mod near;
mod not_null;
mod operators;
mod syntax;
mod template;
mod types;

pub use check::{Scope, check, check_template, uses_status_function, with_article};
pub use error::ExpressionError;
pub use evaluate::{Status, Values, evaluate, resolve};
pub use near::did_you_mean;
pub use template::{Expression, Part, Template};
pub use types::Type;

//! Expressions: CEL inside `${{ }}`, and the bare one of an `if`.
//!
//! Text flows in, a [`Template`] with positions comes out; [`check()`] proves its type offline against a [`Scope`], and
//! [`evaluate()`] gives its value within a budget. Nothing here knows of files, stages or secrets' values: a secret is a
//! type that may flow nowhere but where a field allows it. The crate `cel` is used in this folder only.

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

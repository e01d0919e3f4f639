//! One problem as data: what is wrong, where, why, and what to do about it.
//!
//! Every error and every warning ends as a [`Diagnostic`]. `report/` renders it. Its [`Kind`] gives the exit code, its
//! [`Code`] is stable. Nothing here prints.

mod code;
#[expect(clippy::module_inception, reason = "one type, one file, named for it")]
mod diagnostic;

pub use code::{Code, CodeError, codes};
pub use diagnostic::{Diagnostic, Kind, Location, Result, Severity};

pub(crate) use code::with_every_code;

//! One problem, as data: what is wrong, where, why, and what to do about it.
//!
//! Everything that `tl` refuses or fails at ends as a [`Diagnostic`]. `report/` renders it; its [`Kind`] decides the exit
//! code, its [`Code`] names it for ever.

mod code;
#[expect(clippy::module_inception, reason = "one type, one file, named for it")]
mod diagnostic;

pub use code::{Code, CodeError, codes};
pub use diagnostic::{Diagnostic, Kind, Location, Result, Severity};

pub(crate) use code::with_every_code;

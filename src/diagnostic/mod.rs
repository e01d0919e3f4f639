//! Problems as data: what is wrong, where, why, and what to do about it.
//!
//! Every refusal and failure of `tl` becomes a [`Diagnostic`]. Its [`Code`] names it for ever, its [`Kind`] decides the
//! [`ExitCode`], and `report/` renders it. A diagnostic reads back from its JSON.

mod code;
#[expect(clippy::module_inception, reason = "one type, one file, named for it")]
mod diagnostic;
mod exit_code;

pub use code::{Code, CodeError, codes};
pub use diagnostic::{Diagnostic, Kind, Location, Result, Severity};
pub use exit_code::ExitCode;

pub(crate) use code::with_every_code;

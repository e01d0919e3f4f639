//! What a line of the log holds, and its only spelling.

mod jcs;
mod line;

pub use jcs::JsonError;
pub use line::{Actor, Entry, Record, Severity};
pub(super) use line::{LineError, MAX_LINE, Place, Prepared, encode, format_time};

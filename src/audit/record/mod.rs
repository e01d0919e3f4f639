//! What the log records, and the only spelling of it.
//!
//! [`Record`] has one variant for each type of record, with typed fields. It becomes a [`Draft`], whose secrets are masked,
//! and then one line of canonical JSON. A line is read back as a [`LogEntry`], also where its type is one that this release
//! does not know. Nothing here reads or writes a file.

mod draft;
mod jcs;
mod kinds;
mod line;
mod log_entry;
mod mask;
mod schema;
#[cfg(test)]
mod tests;

pub use draft::{Actor, Draft, Severity};
pub use jcs::JsonError;
pub use kinds::{ExtendedFile, Record, RunEnd, RunStart, SecretUser, SentMessage, StageName, UploadRef};
pub use line::Prepared;
pub(super) use line::{MAX_LINE, Place, encode, format_time};
pub(super) use log_entry::LineError;
pub use log_entry::LogEntry;
pub use schema::entry_schema;

//! A file as text, and as a value with the place of each of its parts.
//!
//! The text of a file flows in, with those of the files that it extends. A [`Document`] flows out, or everything that
//! the language forbids in the text. Nothing here knows what a key means, except `version` and `extends`.

mod align;
mod document;
mod events;
mod extends;
mod limits;
mod merge;
mod path;
mod pointer;
mod recognise;
mod source;
mod syntax;
mod version;

pub use document::Document;
pub(super) use limits::MAX_FINDINGS;
#[cfg(test)]
pub(super) use merge::MERGE;
pub(super) use path::normalized;
pub(super) use pointer::{entries, escape, field_of};
pub use recognise::is_pipeline;
pub(super) use source::Span;
pub use source::{hide_identities, read_regular};
pub use version::NEWEST_VERSION;
pub(super) use version::{check_version, unknown_version, version_number};

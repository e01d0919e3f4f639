//! Turns the text of a file into a value with the place of each of its parts.
//!
//! The text of a file flows in, with the texts of the files that it extends. A [`Document`] flows out, or everything that
//! the language forbids in the text. Nothing here knows what a key means, except `version`, `extends` and `policy`.
//!
//! Two parsers read each text: `saphyr-parser` counts against the limits and gives the places, `serde_yaml` gives the
//! meaning. They must agree, so characters on which YAML parsers differ are refused; property tests compare the two.

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

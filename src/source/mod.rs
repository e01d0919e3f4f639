//! What is taken from this machine: sources, what is left out of them, and the walk through them.
//!
//! A [`Selection`] flows in. The sources that exist, their [`Filters`], and the entries of a [`Walk`] flow out; `archive` stores
//! them, and a plan lists them. What never happens here: no content of a file is read, except of a list and of a tag that marks a
//! cache, and nothing is written.
//!
//! Patterns are those of a `.gitignore`, relative to the nearest source: the crate `ignore` reads them. A pattern that begins with the
//! absolute path of a source keeps that meaning, also in sources below that one.

mod error;
mod filter;
mod group;
mod meta;
mod pattern;
mod selection;
mod set;
mod sources;
mod survey;
mod walk;
mod why;

pub use error::Error;
pub use filter::{Cursor, Filters, Position};
pub use group::Group;
pub use meta::{Id, Meta, Owner, Owners, Time};
pub use pattern::{Pattern, moved, read_patterns};
pub use selection::{Selection, read_list};
pub use sources::{Source, resolve, unreadable};
pub use survey::{Seen, Survey, each, survey};
pub use walk::{Step, Walk, inside, list, open_directory};
pub use why::{Verdict, why};

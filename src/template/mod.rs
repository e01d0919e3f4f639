//! Renders messages: Handlebars in strict mode, so that a misspelt name is an error and not a gap.
//!
//! A template and values flow in. A text or HTML flows out, in which no value can control a terminal, a mail program or a
//! browser. Partials are read from the folder of the template. A partial that includes itself is refused, by the tree of
//! the templates, since the engine would overflow the stack.
//!
//! `validate` renders each template with sample values: an error in the message of a failure must not wait for a failure.
//!
//! The crate `handlebars` is used in this folder only.

mod clean;
mod error;
mod helpers;
mod partials;
mod render;

pub(crate) use error::Error;
pub(crate) use render::{Form, Template};

//! Messages: Handlebars in strict mode, so that a misspelt name is an error and not a gap.
//!
//! A template and values flow in, a text or HTML flows out, without anything in it that a value could steer a terminal, a
//! mail program or a browser with. Partials are read from beside the template.
//!
//! The crate `handlebars` is used in this folder only.

mod clean;
mod error;
mod helpers;
mod partials;
mod render;

pub use error::Error;
pub use render::{Form, Template};

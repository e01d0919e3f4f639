//! Pipelines to begin with: the files of `pipelines/`, carried in the program.
//!
//! A name flows in, the text of a file flows out. Nothing here writes or asks.

mod template;

pub use template::{TEMPLATES, Template, find};

#[cfg(test)]
mod tests;

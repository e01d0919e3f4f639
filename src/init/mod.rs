//! Pipeline templates for `tl init`: the files of `pipelines/`, embedded in the program.
//!
//! A name flows in, the text of a file flows out. Nothing here writes a file or prompts.

mod template;

pub(crate) use template::{TEMPLATES, Template, find};

#[cfg(test)]
mod tests;

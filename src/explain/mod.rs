//! What each code means: one text a code in `codes/`, with what is wrong and what is right.
//!
//! A code as somebody typed it flows in, an [`Explanation`] flows out. The examples are complete: a test runs each of
//! them. Nothing here knows where a code is given.

mod code;

pub use code::{Example, Explanation, File, all, find, parse_code};

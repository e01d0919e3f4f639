//! Explains each code: one page a code in `codes/`, with a wrong example and a right one.
//!
//! A code as a user types it flows in, an [`Explanation`] flows out. The examples are complete, and a test runs each of
//! them: the wrong one must give this code and no other, the right one must work. So a page that no longer holds, or a code
//! without a page, fails CI. Nothing here knows where a code is used.

mod code;

pub use code::{Example, Explanation, File, all, find, parse_code};

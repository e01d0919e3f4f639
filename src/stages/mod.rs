//! What the kinds of stage do: bytes and options flow in, bytes and a summary flow out.

pub mod archive;

//! The binary `tl`.

fn main() {}

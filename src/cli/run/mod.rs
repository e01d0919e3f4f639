//! Commands that run a pipeline, and that cancel a run.

mod arguments;
mod cancel;
mod junit_file;
mod start;

pub(super) use arguments::Run;
pub(super) use cancel::{Cancel, cancel};
pub(super) use start::run;

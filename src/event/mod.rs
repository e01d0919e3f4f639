//! What the engine says happened: for display, history and machines. One variant for each thing that can happen to a
//! run, none for a kind of stage.

#[expect(clippy::module_inception, reason = "one type, one file, named for it")]
mod event;

pub use event::{Event, Outcome, Stream, What, called};

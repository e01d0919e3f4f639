//! The events of a run, for display, history and machines.
//!
//! The engine emits them, reporters show them, `--reporter json` prints them, and the journal of a run gives them back. Each
//! serialises to one line of JSON and reads back as what it was. A field that an older build did not write has a default. No
//! variant belongs to one kind of stage.

mod counts;
mod did;
#[expect(clippy::module_inception, reason = "one type, one file, named for it")]
mod event;

pub use counts::{Assurance, Counts};
pub use did::Did;
pub use event::{Event, Outcome, Stream, What, called};

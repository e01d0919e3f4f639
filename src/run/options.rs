use std::path::PathBuf;

use crate::graph::Selection;
use crate::state::{Left, StateDir};
use crate::value::Cancel;

/// How to run a pipeline.
pub struct Options {
    /// Where state is kept.
    pub state: StateDir,
    /// Stops the run.
    pub cancel: Cancel,
    /// The program `tl` itself.
    pub program: PathBuf,
    /// The SHA-256 of the plan that is held to, if one is.
    pub plan: Option<String>,
    /// The run that goes on, if one does.
    pub resumed: Option<Left>,
    /// Which of its stages it is about; checked.
    pub selection: Selection,
}

impl Options {
    /// How often the run was started or resumed, this time included.
    pub(super) fn session(&self) -> u32 {
        self.resumed.as_ref().map_or(1, |left| left.sessions + 1)
    }
}

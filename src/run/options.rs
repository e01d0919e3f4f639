use std::path::PathBuf;

use super::last_words::LastWords;
use crate::graph::Selection;
use crate::state::{PriorRun, StateDir};
use crate::value::Cancel;

/// The options of a run.
pub(crate) struct Options {
    /// The state folder.
    pub state: StateDir,
    /// Cancels the run.
    pub cancel: Cancel,
    /// The path of `tl` itself, for `$TL`.
    pub program: PathBuf,
    /// The SHA-256 of the plan file, if a plan runs.
    pub plan: Option<String>,
    /// The earlier sessions, if the run is resumed.
    pub resumed: Option<PriorRun>,
    /// The selected stages; checked.
    pub selection: Selection,
    /// What the run writes if it is ended at once.
    pub last_words: LastWords,
}

impl Options {
    /// The number of this session: 1, or higher if the run is resumed.
    pub(super) fn session(&self) -> u32 {
        self.resumed.as_ref().map_or(1, |left| left.sessions + 1)
    }
}

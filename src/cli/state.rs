use std::path::Path;

use crate::diagnostic::{Diagnostic, codes};
use crate::open::database_error;
use crate::state::{FoundRun, KnownRun, StateDir};

/// The state folder: `--state`, else `$TL_STATE`, else the platform's.
pub(super) fn state_dir(state: Option<&Path>) -> Result<StateDir, Vec<Diagnostic>> {
    StateDir::locate(state).map_err(|error| vec![Diagnostic::usage(codes::TL0707, error.to_string())])
}

/// Finds a run by its id, or by the beginning or end of it.
pub(super) fn known_run(state: &StateDir, word: &str) -> Result<KnownRun, Vec<Diagnostic>> {
    let error = match state.find_run(word).map_err(|error| vec![database_error(&error)])? {
        FoundRun::One(run) => return Ok(run),
        FoundRun::None => Diagnostic::usage(codes::TL0760, format!("there is no run `{word}` here"))
            .help("`tl history` lists the runs of this state folder; see `--state` for others"),
        FoundRun::Several(ids) => Diagnostic::usage(codes::TL0761, format!("`{word}` could be any of several runs"))
            .help(format!("name one by more of its id: {}", ids.join(", "))),
        FoundRun::TooShort => Diagnostic::usage(codes::TL0761, format!("`{word}` is too short to name a run"))
            .help("write at least 4 characters of its beginning or end"),
    };
    Err(vec![error])
}

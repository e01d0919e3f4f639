use std::path::Path;

use crate::cli::state::state_dir;
use crate::diagnostic::Diagnostic;
use crate::open::database_error;
use crate::state::{DbError, Runs};

/// Turns a database error into the error of a command.
pub(in crate::cli) fn failed(error: DbError) -> Vec<Diagnostic> {
    vec![database_error(&error)]
}

/// The history of the state folder; `None` if no run was ever recorded.
pub(in crate::cli) fn runs(state: Option<&Path>) -> Result<Option<Runs>, Vec<Diagnostic>> {
    state_dir(state)?.runs().map_err(failed)
}

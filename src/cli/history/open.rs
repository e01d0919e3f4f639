use std::path::Path;

use crate::cli::state::located;
use crate::diagnostic::Diagnostic;
use crate::open::database_error;
use crate::state::{DbError, Runs};

/// The problem that a database has, as commands end with it.
pub(in crate::cli) fn failed(error: DbError) -> Vec<Diagnostic> {
    vec![database_error(&error)]
}

/// The runs of the state folder; nothing where none was ever kept.
pub(in crate::cli) fn runs(state: Option<&Path>) -> Result<Option<Runs>, Vec<Diagnostic>> {
    located(state)?.runs().map_err(failed)
}

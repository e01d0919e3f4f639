use crate::diagnostic::{Diagnostic, ExitCode};

/// What a command ends with: an exit code, or why it could not be done.
pub(super) type Done = Result<ExitCode, Vec<Diagnostic>>;

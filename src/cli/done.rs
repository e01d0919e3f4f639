use crate::diagnostic::Diagnostic;

/// What a command ends with: an exit code, or why it could not be done.
pub(super) type Done = Result<u8, Vec<Diagnostic>>;

//! A run that could not begin: its file no longer reads, or does not take its inputs.

use std::path::Path;

use crate::diagnostic::{Diagnostic, ExitCode};
use crate::event::{Counts, Outcome, What};
use crate::notify::send_unread;
use crate::state::{Finish, Start, StateDir};
use crate::value::sha256;

/// Puts a run that could not begin into the history and the audit log, and tells the channels of the last good text of its file.
/// Does nothing for a file that never ran. Returns what went wrong on the way: it does not change the exit code.
pub(crate) fn unread(state: &StateDir, file: &Path, found: &[Diagnostic]) -> Vec<Diagnostic> {
    let run = ulid::Ulid::new().to_string();
    let mut problems = Vec::new();
    let loaded = send_unread(state, file, &run, found, &mut |what| match what {
        What::Message { error: Some(error), .. } | What::Problem { error } => problems.push(error.as_warning()),
        _ => {}
    });
    let Some(loaded) = loaded else { return problems };
    let start = Start {
        run,
        pipeline: loaded.pipeline.name.to_string(),
        file: loaded.path.clone(),
        // Of the text that does not read, as far as there is one.
        sha256: sha256(std::fs::read(file).unwrap_or_default()),
        inputs: None,
        fixed: loaded.environment.to_json(),
    };
    let finish = Finish {
        outcome: Outcome::Blocked,
        exit_code: found.first().map_or(ExitCode::Usage, |first| first.kind.exit_code()),
        seconds: 0.0,
        left_out: Vec::new(),
        counts: Counts::default(),
        error: found.first().cloned(),
    };
    // The audit log has it, and the exit code tells: a history that cannot be written is no further failure.
    let _unwritten = state.begin_journal(&start).map(|journal| journal.finish(finish));
    problems
}

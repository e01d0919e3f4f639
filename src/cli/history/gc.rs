use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::open::failed;
use crate::cli::done::Done;
use crate::cli::state::state_dir;
use crate::diagnostic::{Diagnostic, ExitCode};
use crate::inspect::orphaned_uploads;
use crate::report::{Output, render_removed};
use crate::run::abort_orphans;
use crate::state::{Keep, Removed, StateDir};
use crate::value::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct Gc {
    /// Show what would be removed, and remove nothing.
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Keep runs for this long. The last good run of each pipeline always stays.
    #[arg(long, value_name = "AGE", default_value = "90d")]
    pub(in crate::cli) runs: Duration,
    /// Keep logs for this long.
    #[arg(long, value_name = "AGE", default_value = "30d")]
    pub(in crate::cli) logs: Duration,
    /// Also abort open uploads of files that are gone and of pipelines that were renamed. Needs their stores and secrets.
    #[arg(long)]
    pub(in crate::cli) store: bool,
    /// Print as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    removed: Removed,
    uploads: usize,
    dry_run: bool,
}

pub(in crate::cli) fn gc(command: &Gc, state: Option<&Path>, output: &mut Output) -> Done {
    let keep = Keep { runs: command.runs.get(), logs: command.logs.get(), dry_run: command.dry_run };
    let state = state_dir(state)?;
    // Before the rows that tell of them go.
    let (uploads, problems) = if command.store { uploads(&state, command.dry_run)? } else { (0, Vec::new()) };
    let removed = state.collect_garbage(keep).map_err(failed)?;
    problems.iter().for_each(|problem| output.problem(problem));
    let code = ExitCode::failed_if(!problems.is_empty());
    if command.json {
        output.json(&Answer { removed, uploads, dry_run: command.dry_run })?;
        return Ok(code);
    }
    let text = render_removed(&removed, uploads, command.dry_run);
    if text.is_empty() && problems.is_empty() {
        output.hint("there is nothing to remove");
    }
    output.text(&text);
    Ok(code)
}

/// Aborts the uploads that no run will abort, and says why others are still open.
fn uploads(state: &StateDir, dry_run: bool) -> Result<(usize, Vec<Diagnostic>), Vec<Diagnostic>> {
    let orphans = orphaned_uploads(state).map_err(failed)?;
    if dry_run { Ok((orphans.len(), Vec::new())) } else { abort_orphans(state, &orphans).map_err(|error| vec![error]) }
}

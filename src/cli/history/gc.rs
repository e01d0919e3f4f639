use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::open::failed;
use crate::cli::done::Done;
use crate::cli::state::state_dir;
use crate::diagnostic::ExitCode;
use crate::report::{Output, render_removed};
use crate::state::{Keep, Removed};
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
    /// Print as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    removed: Removed,
    dry_run: bool,
}

pub(in crate::cli) fn gc(command: &Gc, state: Option<&Path>, output: &mut Output) -> Done {
    let keep = Keep { runs: command.runs.get(), logs: command.logs.get(), dry_run: command.dry_run };
    let removed = state_dir(state)?.collect_garbage(keep).map_err(failed)?;
    if command.json {
        output.json(&Answer { removed, dry_run: command.dry_run })?;
        return Ok(ExitCode::Success);
    }
    let text = render_removed(&removed, command.dry_run);
    if text.is_empty() {
        output.hint("there is nothing to remove");
    }
    output.text(&text);
    Ok(ExitCode::Success)
}

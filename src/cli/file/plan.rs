use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::atomic_file;
use crate::cli::done::Done;
use crate::cli::inputs::Inputs;
use crate::diagnostic::ExitCode;
use crate::inspect;
use crate::open::{self, Loaded};
use crate::report::{Output, render_files, render_plan, render_why};
use crate::state::StateDir;

#[derive(Debug, Args)]
pub(in crate::cli) struct Plan {
    /// The pipeline file.
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) inputs: Inputs,
    /// Print the plan as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// List the files that would be taken now, the largest of them, and what is left out by which rule.
    #[arg(long, conflicts_with = "out")]
    pub(in crate::cli) files: bool,
    /// Say why this path would be taken or left out.
    #[arg(long, value_name = "PATH", requires = "files")]
    pub(in crate::cli) why: Option<PathBuf>,
    /// Also write the plan to a file, which `tl run PLAN` then follows exactly. An older plan there is replaced.
    #[arg(long, value_name = "PLAN")]
    pub(in crate::cli) out: Option<PathBuf>,
}

pub(in crate::cli) fn plan(command: &Plan, state: Option<&Path>, output: &mut Output) -> Done {
    let state = StateDir::locate(state).ok();
    let state = state.as_ref().map(StateDir::path);
    let loaded = open::load(&command.file, &command.inputs.values()?)?;
    if command.files {
        return files(command, &loaded, state, output);
    }
    let report = inspect::plan(&loaded, state).map_err(|error| vec![error])?;
    if let Some(out) = &command.out {
        let text = inspect::plan_text(&loaded).map_err(|error| vec![error])?;
        atomic_file::replace(out, text.as_bytes(), &inspect::is_plan)?;
    }
    if command.json {
        output.json(&report)?;
    } else {
        output.text(&render_plan(&report, output.style()));
    }
    Ok(ExitCode::Success)
}

fn files(command: &Plan, loaded: &Loaded, state: Option<&Path>, output: &mut Output) -> Done {
    let failed = |error| vec![error];
    if let Some(path) = &command.why {
        // A relative path is meant from here, as everywhere on a command line.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let found = inspect::plan_why(loaded, state, &path).map_err(failed)?;
        if command.json {
            output.json(&found)?;
        } else {
            output.text(&render_why(&found));
        }
        return Ok(ExitCode::Success);
    }
    let found = inspect::plan_files(loaded, state).map_err(failed)?;
    if command.json {
        output.json(&found)?;
    } else {
        output.text(&render_files(&found));
    }
    Ok(ExitCode::Success)
}

use std::path::PathBuf;

use clap::Args;

use crate::cli::atomic_file;
use crate::cli::done::Done;
use crate::cli::inputs::Inputs;
use crate::diagnostic::ExitCode;
use crate::inspect;
use crate::open;
use crate::report::{Output, render_plan};

#[derive(Debug, Args)]
pub(in crate::cli) struct Plan {
    /// The pipeline file.
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) inputs: Inputs,
    /// Print the plan as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Also write the plan to a file, which `tl run PLAN` then follows exactly. An older plan there is replaced.
    #[arg(long, value_name = "PLAN")]
    pub(in crate::cli) out: Option<PathBuf>,
}

pub(in crate::cli) fn plan(command: &Plan, output: &mut Output) -> Done {
    let loaded = open::load(&command.file, &command.inputs.values()?)?;
    let report = inspect::plan(&loaded).map_err(|error| vec![error])?;
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

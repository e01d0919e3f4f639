use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::done::Done;
use crate::cli::inputs::Inputs;
use crate::cli::state::state_dir;
use crate::diagnostic::ExitCode;
use crate::inspect::{self, DoctorItem};
use crate::open;
use crate::report::{Output, render_examined};

#[derive(Debug, Args)]
pub(in crate::cli) struct Doctor {
    /// The pipeline file.
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) inputs: Inputs,
    /// Print the results as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Checks what `validate` and `plan` leave alone: to check a store means to write to it.
pub(in crate::cli) fn doctor(command: &Doctor, state: Option<&Path>, output: &mut Output) -> Done {
    let found = inspect::doctor(&open::load(&command.file, &command.inputs.values()?)?, &state_dir(state)?);
    if command.json {
        output.json(&BTreeMap::from([("examined", &found)]))?;
    } else {
        output.text(&render_examined(&found, output.style()));
    }
    Ok(ExitCode::failed_if(!found.iter().all(DoctorItem::is_well)))
}

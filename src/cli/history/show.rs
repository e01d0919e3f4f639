use std::path::Path;

use clap::Args;
use serde_json::json;

use super::open::{failed, runs};
use crate::cli::done::Done;
use crate::cli::state::{known_run, state_dir};
use crate::diagnostic::ExitCode;
use crate::report::{Output, Screen, render_run};
use crate::state::Filter;

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The id of the run, or at least 4 characters of its beginning or end; by default the newest run.
    pub(in crate::cli) run: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

pub(in crate::cli) fn show(command: &Show, state: Option<&Path>, output: &mut Output) -> Done {
    let runs = runs(state)?;
    let found = match (&runs, &command.run) {
        (_, Some(word)) => Some(known_run(&state_dir(state)?, word)?.run),
        (Some(runs), None) => {
            runs.list(&Filter { last: Some(1), ..Filter::default() }).map_err(failed)?.pop().map(|run| run.id)
        }
        (None, None) => None,
    };
    let record = match (&runs, &found) {
        (Some(runs), Some(id)) => runs.record(id).map_err(failed)?,
        _ => None,
    };
    match record {
        Some(record) if command.json => output.json(&record)?,
        Some(record) => output.text(&render_run(&record, Screen::of(output))),
        None if command.json => output.json(&json!({}))?,
        None => output.hint("no run is known here"),
    }
    Ok(ExitCode::Success)
}

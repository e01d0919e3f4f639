use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;

use super::open::{failed, runs};
use crate::cli::done::Done;
use crate::diagnostic::ExitCode;
use crate::inspect;
use crate::report::{Output, Screen, render_stats};

#[derive(Debug, Args)]
pub(in crate::cli) struct Stats {
    /// Only the pipeline with this name.
    pub(in crate::cli) pipeline: Option<String>,
    /// Count the last N runs of each pipeline.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = at_least_one)]
    pub(in crate::cli) last: usize,
    /// Print as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "write a number from 1".to_owned())
}

pub(in crate::cli) fn stats(command: &Stats, state: Option<&Path>, output: &mut Output) -> Done {
    let found = match runs(state)? {
        Some(runs) => inspect::stats(&runs, command.pipeline.as_deref(), command.last).map_err(failed)?,
        None => Vec::new(),
    };
    if command.json {
        output.json(&BTreeMap::from([("pipelines", &found)]))?;
    } else if found.is_empty() {
        output.hint("no run has ended here yet");
    } else {
        output.text(&render_stats(&found, Screen::of(output)));
    }
    Ok(ExitCode::Success)
}

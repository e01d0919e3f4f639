use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::done::Done;
use crate::cli::notify::sent;
use crate::cli::state::located;
use crate::diagnostic::{Diagnostic, ExitCode, Kind, codes};
use crate::inspect::{self, Judged};
use crate::notify;
use crate::report::{Output, Screen, render_stale};

#[derive(Debug, Args)]
pub(in crate::cli) struct Stale {
    /// Pipeline files or folders; by default every pipeline that ever ran.
    #[arg(value_name = "FILE|DIR")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// Send a message for each overdue pipeline whose `notify` asks for `stale`, once for each missed due time, and send
    /// the outbox. For cron or a timer.
    #[arg(long)]
    pub(in crate::cli) notify: bool,
    /// Print as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

pub(in crate::cli) fn stale(command: &Stale, state: Option<&Path>, output: &mut Output) -> Done {
    let now = Timestamp::now();
    let state = located(state)?;
    let Judged { pipelines: found, problems: unread } = inspect::stale(&state, &command.paths, now)?;
    if !command.json {
        found.iter().filter_map(|stale| stale.problem.as_ref()).for_each(|problem| output.problem(problem));
        let judged: Vec<inspect::Stale> = found.iter().filter(|stale| stale.pipeline.is_some()).cloned().collect();
        if judged.is_empty() {
            output.hint("no pipeline here says how often it is to succeed: see `expect`");
        }
        output.text(&render_stale(&judged, now, Screen::of(output)));
    }
    let mut problems = Vec::new();
    // Told after it is shown: a channel may take its time.
    let told = match command.notify.then(|| notify::send_overdue(&state, &found, now)) {
        Some(Err(untold)) => {
            problems = untold;
            None
        }
        told => told.and_then(Result::ok),
    };
    match &told {
        Some(told) if command.json => output.json(&json!({ "pipelines": found, "messages": told }))?,
        None if command.json => output.json(&json!({ "pipelines": found }))?,
        Some(told) => sent(told, output),
        None => {}
    }
    problems.extend(unread);
    let name = |stale: &inspect::Stale| format!("`{}`", stale.pipeline.as_ref().unwrap_or(&stale.file));
    let names: Vec<String> = found.iter().filter(|stale| stale.is_stale).map(name).collect();
    if !names.is_empty() {
        let verb = if names.len() == 1 { "has" } else { "have" };
        let message = format!("{} {verb} not succeeded in time", names.join(", "));
        let help = "`tl history` says what became of the last runs; what starts them may have stopped";
        problems.push(Diagnostic::new(codes::TL0764, Kind::Failure, message).help(help));
    }
    match told {
        _ if !problems.is_empty() => Err(problems),
        Some(told) => Ok(ExitCode::failed_if(told.is_lacking())),
        None => Ok(ExitCode::Success),
    }
}

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::done::Done;
use crate::cli::notify::print_sent;
use crate::cli::state::state_dir;
use crate::diagnostic::{Diagnostic, ExitCode, Kind, codes};
use crate::inspect::{self, Judged};
use crate::notify::{self, Flushed};
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

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    pipelines: &'a [inspect::Stale],
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'a Flushed>,
}

pub(in crate::cli) fn stale(command: &Stale, state: Option<&Path>, output: &mut Output) -> Done {
    let now = Timestamp::now();
    let state = state_dir(state)?;
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
    // After printing, because a channel can be slow. What else is due in the outbox is sent too: the runs that would send
    // it may have stopped.
    let flushed = match command.notify.then(|| notify::send_overdue(&state, &found, now)) {
        Some(Err(untold)) => {
            problems = untold;
            None
        }
        flushed => flushed.and_then(Result::ok),
    };
    match &flushed {
        messages if command.json => output.json(&Answer { pipelines: &found, messages: messages.as_ref() })?,
        Some(flushed) => print_sent(flushed, output),
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
    match flushed {
        _ if !problems.is_empty() => Err(problems),
        Some(flushed) => Ok(ExitCode::failed_if(flushed.is_lacking())),
        None => Ok(ExitCode::Success),
    }
}

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::done::Done;
use crate::cli::state::{known_run, state_dir};
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::report::{Output, render_log_line};
use crate::state::{Log, LogLine, LogReader};

/// How often to look for new output.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(in crate::cli) struct Logs {
    /// The id of the run, or at least 4 characters of its beginning or end.
    run: String,
    /// Only this stage.
    stage: Option<String>,
    /// Keep printing new output until the run ends.
    #[arg(long, short)]
    follow: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Shows the output of a run's programs.
pub(in crate::cli) fn logs(command: &Logs, state: Option<&Path>, output: &mut Output) -> Done {
    let state = state_dir(state)?;
    let run = known_run(&state, &command.run)?.run;
    let logs = state.logs(&run);
    let unreadable = |error: io::Error| {
        let message = format!("the logs in `{}` cannot be read", logs.folder().display());
        vec![Diagnostic::failure(codes::TL0755, message).cause(&error).help("let this user read them")]
    };
    let mut readers: BTreeMap<PathBuf, LogReader> = BTreeMap::new();
    let mut shown = false;
    loop {
        // Checked before the logs are read, so that everything printed before the end is shown.
        let has_ended =
            known_run(&state, &run).map_or(true, |known| known.outcome.is_some() || !known.process.is_alive());
        for log in logs.list().map_err(unreadable)? {
            if command.stage.as_ref().is_some_and(|stage| *stage != log.stage) {
                continue;
            }
            let reader = readers.entry(log.path.clone()).or_insert_with(|| log.read());
            loop {
                let lines = reader.more().map_err(unreadable)?;
                if lines.is_empty() || output.is_gone() {
                    break;
                }
                shown = true;
                lines.iter().try_for_each(|line| print(&log, line, command.json, output))?;
            }
        }
        if !command.follow || has_ended || output.is_gone() {
            break;
        }
        thread::sleep(POLL);
    }
    if !shown && !command.json {
        output.hint("nothing that a program printed is kept here");
    }
    Ok(ExitCode::Success)
}

fn print(log: &Log, line: &LogLine, as_json: bool, output: &mut Output) -> Result<(), Vec<Diagnostic>> {
    if !as_json {
        output.text(&render_log_line(log, line));
        return Ok(());
    }
    output.json_line(&json!({
        "at": line.at, "stage": log.stage, "instance": log.instance, "session": log.session, "attempt": log.attempt,
        "stream": line.stream, "line": line.text,
    }))
}

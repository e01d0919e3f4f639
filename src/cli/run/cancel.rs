use std::path::Path;
use std::thread;
use std::time::{Duration as StdDuration, Instant};

use clap::Args;
use serde_json::json;

use crate::cli::done::Done;
use crate::cli::state::{known_run, state_dir};
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::event::Outcome;
use crate::report::Output;
use crate::state::{KnownRun, StateDir};
use crate::value::Duration;

/// How often to check whether the run has ended.
const POLL: StdDuration = StdDuration::from_millis(100);

#[derive(Debug, Args)]
pub(in crate::cli) struct Cancel {
    /// The id of the run, or at least 4 characters of its beginning or end.
    run: String,
    /// How long to wait for its end, such as `90s`; by default as long as it takes.
    #[arg(long, value_name = "DURATION", conflicts_with = "no_wait")]
    wait: Option<Duration>,
    /// Do not wait for its end.
    #[arg(long)]
    no_wait: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Cancels a run by a signal to its process, as Ctrl-C does.
pub(in crate::cli) fn cancel(command: &Cancel, state: Option<&Path>, output: &mut Output) -> Done {
    let state = state_dir(state)?;
    let run = known_run(&state, &command.run)?;
    let not_running = |message: String| Diagnostic::failure(codes::TL0752, message);
    if let Some(outcome) = &run.outcome {
        return Err(vec![not_running(format!("the run {} has ended already: {}", run.run, outcome.word()))]);
    }
    match run.process.terminate() {
        Ok(true) => {}
        Ok(false) => {
            let message = format!("the run {} was interrupted: its process is there no more", run.run);
            return Err(vec![not_running(message).help("it was killed, or the machine went down; nothing of it runs")]);
        }
        Err(error) => {
            let message = format!("the process of the run {} could not be asked to end", run.run);
            let help = "it runs as another user; only that one, or root, may end it";
            return Err(vec![not_running(message).cause(&error).help(help)]);
        }
    }
    let limit = if command.no_wait { Some(StdDuration::ZERO) } else { command.wait.map(Duration::get) };
    let ended = wait(&state, run, limit)?;
    report(&ended, command.json, output)?;
    match ended {
        Ended::Running(run) if !command.no_wait => {
            let message = format!("the run {} has not ended yet; it was asked to", run.run);
            Err(vec![
                Diagnostic::failure(codes::TL0754, message)
                    .help("its programs have 10 seconds, and `finally` still runs"),
            ])
        }
        _ => Ok(ExitCode::Success),
    }
}

/// The state of the run after the wait.
enum Ended {
    /// It ended, with an outcome.
    Known(KnownRun),
    /// Its process is gone, and left no outcome.
    Unknown(KnownRun),
    /// It has not ended.
    Running(KnownRun),
}

fn wait(state: &StateDir, mut run: KnownRun, limit: Option<StdDuration>) -> Result<Ended, Vec<Diagnostic>> {
    let begun = Instant::now();
    loop {
        // In this order: after the process has ended, its outcome can be read.
        let is_alive = run.process.is_alive();
        run = known_run(state, &run.run)?;
        match () {
            () if run.outcome.is_some() => return Ok(Ended::Known(run)),
            () if !is_alive => return Ok(Ended::Unknown(run)),
            () if limit.is_some_and(|limit| begun.elapsed() >= limit) => return Ok(Ended::Running(run)),
            () => thread::sleep(POLL),
        }
    }
}

fn report(ended: &Ended, as_json: bool, output: &mut Output) -> Result<(), Vec<Diagnostic>> {
    let (run, has_ended) = match ended {
        Ended::Known(run) | Ended::Unknown(run) => (run, true),
        Ended::Running(run) => (run, false),
    };
    if as_json {
        return output.json(&json!({
            "run": run.run, "pipeline": run.pipeline, "ended": has_ended, "outcome": run.outcome, "exit_code": run.exit_code,
        }));
    }
    let what = match ended {
        Ended::Known(run) => format!("ended: {}", run.outcome.map_or("", Outcome::word)),
        Ended::Unknown(_) => "ended, and nothing says how".to_owned(),
        Ended::Running(_) => "was asked to end".to_owned(),
    };
    output.text(&format!("{} ({}) {what}\n", run.run, run.pipeline));
    Ok(())
}

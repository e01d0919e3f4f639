use std::path::Path;
use std::thread;
use std::time::{Duration as StdDuration, Instant};

use clap::Args;
use serde_json::json;

use crate::cli::done::Done;
use crate::cli::state::{known_run, located};
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::event::Outcome;
use crate::report::Output;
use crate::state::{KnownRun, StateDir};
use crate::value::Duration;

/// How often it is looked whether the run has ended.
const LOOK: StdDuration = StdDuration::from_millis(100);

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

/// Asks the process of a run to end it in order, as Ctrl-C does.
pub(in crate::cli) fn cancel(command: &Cancel, state: Option<&Path>, output: &mut Output) -> Done {
    let state = located(state)?;
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
        Ended::NotYet(run) if !command.no_wait => {
            let message = format!("the run {} has not ended yet; it was asked to", run.run);
            Err(vec![
                Diagnostic::failure(codes::TL0754, message)
                    .help("its programs have 10 seconds, and `finally` still runs"),
            ])
        }
        _ => Ok(ExitCode::Success),
    }
}

/// What came of it.
enum Ended {
    /// It ended, and said how.
    So(KnownRun),
    /// Its process is gone, and nothing says how it ended.
    Unsaid(KnownRun),
    NotYet(KnownRun),
}

fn wait(state: &StateDir, mut run: KnownRun, limit: Option<StdDuration>) -> Result<Ended, Vec<Diagnostic>> {
    let begun = Instant::now();
    loop {
        // In this order: what a process wrote before its end is there after it.
        let is_alive = run.process.is_alive();
        run = known_run(state, &run.run)?;
        match () {
            () if run.outcome.is_some() => return Ok(Ended::So(run)),
            () if !is_alive => return Ok(Ended::Unsaid(run)),
            () if limit.is_some_and(|limit| begun.elapsed() >= limit) => return Ok(Ended::NotYet(run)),
            () => thread::sleep(LOOK),
        }
    }
}

fn report(ended: &Ended, as_json: bool, output: &mut Output) -> Result<(), Vec<Diagnostic>> {
    let (run, has_ended) = match ended {
        Ended::So(run) | Ended::Unsaid(run) => (run, true),
        Ended::NotYet(run) => (run, false),
    };
    if as_json {
        return output.json(&json!({
            "run": run.run, "pipeline": run.pipeline, "ended": has_ended, "outcome": run.outcome, "exit_code": run.exit_code,
        }));
    }
    let what = match ended {
        Ended::So(run) => format!("ended: {}", run.outcome.map_or("", Outcome::word)),
        Ended::Unsaid(_) => "ended, and nothing says how".to_owned(),
        Ended::NotYet(_) => "was asked to end".to_owned(),
    };
    output.text(&format!("{} ({}) {what}\n", run.run, run.pipeline));
    Ok(())
}

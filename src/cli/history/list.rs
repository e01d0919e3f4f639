use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::open::{failed, runs};
use crate::cli::done::Done;
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::event::Outcome;
use crate::open::place_of;
use crate::report::{Output, Screen, render_history};
use crate::state::{Failure, Filter, Run};
use crate::value::{Duration, utc};

#[derive(Debug, Args)]
pub(in crate::cli) struct History {
    /// Only runs of this pipeline file, or of the pipelines with this name.
    #[arg(value_name = "FILE|PIPELINE")]
    pub(in crate::cli) of: Option<String>,
    /// Show the last N.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(in crate::cli) last: usize,
    /// Only runs with this outcome.
    #[arg(long, value_parser = PossibleValuesParser::new(endings()))]
    pub(in crate::cli) outcome: Option<String>,
    /// Only runs that started within an age, such as `7d`, or since a day or time, such as `2026-11-24`.
    #[arg(long, value_name = "AGE|TIME")]
    pub(in crate::cli) since: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// The values of `--outcome`: the outcomes, and the states of a run without one.
fn endings() -> impl Iterator<Item = &'static str> {
    use Outcome::{Blocked, Cancelled, Failure, Skipped, Success, Warning};
    [Success, Warning, Failure, Skipped, Cancelled, Blocked]
        .map(Outcome::word)
        .into_iter()
        .chain(["running", "interrupted"])
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    runs: Vec<Entry>,
    /// Whether `--last` left out no run.
    is_all: bool,
}

#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    run: Run,
    /// The stage that failed first.
    failed: Option<Failure>,
}

pub(in crate::cli) fn history(command: &History, state: Option<&Path>, output: &mut Output) -> Done {
    let mut filter = Filter {
        outcome: command.outcome.clone(),
        since: command.since.as_deref().map(since).transpose()?,
        // One more than asked for, to know whether there are more.
        last: Some(command.last.saturating_add(1)),
        ..Filter::default()
    };
    match &command.of {
        Some(word) if is_file(word) => filter.files = Some(paths_of(Path::new(word))),
        other => filter.pipeline.clone_from(other),
    }
    let mut found = Vec::new();
    if let Some(runs) = runs(state)? {
        for run in runs.list(&filter).map_err(failed)? {
            let failure = runs.failure(&run.id).map_err(failed)?;
            found.push((run, failure));
        }
    }
    let is_all = found.len() <= command.last;
    found.truncate(command.last);
    if command.json {
        let entry = |(run, failed)| Entry { run, failed };
        output.json(&Answer { runs: found.into_iter().map(entry).collect(), is_all })?;
        return Ok(ExitCode::Success);
    }
    if found.is_empty() {
        output.hint("no such run is known here");
    }
    output.text(&render_history(&found, Screen::of(output)));
    if !is_all {
        output.hint(&format!("the newest {}; `--last N` shows more", command.last));
    }
    Ok(ExitCode::Success)
}

/// Whether a word names a file: the name of a pipeline has neither a slash nor a dot.
fn is_file(word: &str) -> bool {
    word.contains(['/', '.']) || Path::new(word).is_file()
}

/// The paths under which the history may have recorded a file.
fn paths_of(file: &Path) -> Vec<PathBuf> {
    let mut paths = vec![place_of(file)];
    paths.extend(std::path::absolute(file).ok().filter(|path| *path != paths[0]));
    paths
}

/// Parses an age, a day or a time, and returns it as the history writes times.
fn since(text: &str) -> Result<String, Vec<Diagnostic>> {
    let midnight = |day: Date| day.to_zoned(TimeZone::system()).ok().map(|start| start.timestamp());
    let ago = |age: Duration| Timestamp::now().checked_sub(age.get()).ok();
    let time = match text.parse::<Duration>() {
        Ok(age) => ago(age),
        Err(_) => text.parse::<Timestamp>().ok().or_else(|| text.parse::<Date>().ok().and_then(midnight)),
    };
    let time = time.ok_or_else(|| {
        let message = format!("`{text}` is no age and no time");
        vec![Diagnostic::usage(codes::TL0762, message).help("write `7d`, `2026-11-24` or `2026-11-24T02:00:00Z`")]
    })?;
    Ok(utc(time))
}

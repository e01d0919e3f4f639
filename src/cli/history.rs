use std::path::Path;
use std::thread;
use std::time::{Duration as StdDuration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::Done;
use super::history_arguments::{Gc, History, Show, Stale, Stats, Status};
use super::known_run::known_run;
use super::notify::sent;
use crate::diagnostic::{Diagnostic, ExitCode, Kind, codes};
use crate::report::{
    Output, Screen, render_history, render_removed, render_run, render_stale, render_stats, render_status,
};
use crate::run::{self, Judged, Watch, database_error, place_of};
use crate::state::{DbError, Failure, Filter, Keep, Run, Runs, StateDir};
use crate::value::{Duration, utc};

fn located(state: Option<&Path>) -> Result<StateDir, Vec<Diagnostic>> {
    StateDir::locate(state).map_err(|error| vec![Diagnostic::usage(codes::TL0707, error.to_string())])
}

fn failed(error: DbError) -> Vec<Diagnostic> {
    vec![database_error(&error)]
}

fn runs(state: Option<&Path>) -> Result<Option<Runs>, Vec<Diagnostic>> {
    located(state)?.runs().map_err(failed)
}

/// How often it is looked whether something changed.
const LOOK: StdDuration = StdDuration::from_millis(500);
/// How often the time that has passed is shown anew.
const TICK: StdDuration = StdDuration::from_secs(1);

pub(super) fn status(command: &Status, state: Option<&Path>, output: &mut Output) -> Done {
    let mut watch = Watch::new(located(state)?);
    let in_place = command.watch && !command.json && Screen::of(output).is_terminal;
    let mut shown = Shown::default();
    let mut drawn = Instant::now();
    loop {
        let is_new = watch.look().map_err(failed)?.is_some();
        if is_new || (in_place && drawn.elapsed() >= TICK) {
            drawn = Instant::now();
            let screen = Screen::of(output);
            let found = watch.last();
            if command.json {
                let value = json!({ "runs": found });
                if command.watch { output.text(&format!("{value}\n")) } else { output.json(&value) }
            } else if found.is_empty() && !command.watch {
                output.hint("nothing runs here, and nothing was interrupted");
            } else {
                let now = Timestamp::now();
                let text = match found {
                    [] => "nothing runs here\n".to_owned(),
                    found => render_status(found, now, screen),
                };
                output.text(&if in_place { shown.redraw(&text, screen) } else { text });
            }
        }
        if !command.watch || output.is_gone() {
            return Ok(ExitCode::Success);
        }
        thread::sleep(LOOK);
    }
}

/// What stands on the terminal, to be written over.
#[derive(Default)]
struct Shown {
    lines: usize,
}

impl Shown {
    /// Goes back to the first line, writes each anew and clears what is left. What does not fit on the terminal is left out:
    /// there is no going back to a line that has left it.
    fn redraw(&mut self, text: &str, screen: Screen) -> String {
        let back = match self.lines {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        let lines: Vec<&str> = text.lines().take(screen.height.saturating_sub(1).max(1)).collect();
        self.lines = lines.len();
        let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        // A line that is too long is cut by the terminal, which would else make two of it.
        format!("{back}\x1b[?7l{lines}\x1b[?7h\x1b[J")
    }
}

pub(super) fn history(command: &History, state: Option<&Path>, output: &mut Output) -> Done {
    let mut filter = Filter {
        outcome: command.outcome.map(|outcome| outcome.word().to_owned()),
        since: command.since.as_deref().map(since).transpose()?,
        // One more, to know whether there are more.
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
        let entry = |(run, failure): &(Run, Option<Failure>)| {
            let mut entry = serde_json::to_value(run).unwrap_or_default();
            entry["failed"] = json!(failure);
            entry
        };
        let entries: Vec<Json> = found.iter().map(entry).collect();
        output.json(&json!({ "runs": entries, "is_all": is_all }));
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

/// A name of a pipeline has neither a slash nor a dot.
fn is_file(word: &str) -> bool {
    word.contains(['/', '.']) || Path::new(word).is_file()
}

/// The paths by which a journal may know a file.
fn paths_of(file: &Path) -> Vec<std::path::PathBuf> {
    let mut paths = vec![place_of(file)];
    paths.extend(std::path::absolute(file).ok().filter(|path| *path != paths[0]));
    paths
}

/// The time that an age or a time means, as the journal writes times.
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

pub(super) fn show(command: &Show, state: Option<&Path>, output: &mut Output) -> Done {
    let runs = runs(state)?;
    let found = match (&runs, &command.run) {
        (_, Some(word)) => Some(known_run(&located(state)?, word)?.run),
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
        Some(record) if command.json => output.json(&serde_json::to_value(&record).unwrap_or(Json::Null)),
        Some(record) => output.text(&render_run(&record, Screen::of(output))),
        None if command.json => output.json(&Json::Null),
        None => output.hint("no run is known here"),
    }
    Ok(ExitCode::Success)
}

pub(super) fn stats(command: &Stats, state: Option<&Path>, output: &mut Output) -> Done {
    let found = match runs(state)? {
        Some(runs) => run::stats(&runs, command.pipeline.as_deref(), command.last).map_err(failed)?,
        None => Vec::new(),
    };
    if command.json {
        output.json(&json!({ "pipelines": found }));
    } else if found.is_empty() {
        output.hint("no run has ended here yet");
    } else {
        output.text(&render_stats(&found, Screen::of(output)));
    }
    Ok(ExitCode::Success)
}

pub(super) fn stale(command: &Stale, state: Option<&Path>, output: &mut Output) -> Done {
    let now = Timestamp::now();
    let state = located(state)?;
    let Judged { pipelines: found, problems: unread } = run::stale(&state, &command.paths, now)?;
    if !command.json {
        found.iter().filter_map(|stale| stale.problem.as_ref()).for_each(|problem| output.problem(problem));
        let judged: Vec<run::Stale> = found.iter().filter(|stale| stale.pipeline.is_some()).cloned().collect();
        if judged.is_empty() {
            output.hint("no pipeline here says how often it is to succeed: see `expect`");
        }
        output.text(&render_stale(&judged, now, Screen::of(output)));
    }
    let mut problems = Vec::new();
    // Told after it is shown: a channel may take its time.
    let told = match command.notify.then(|| run::tell_late(&state, &found, now)) {
        Some(Err(untold)) => {
            problems = untold;
            None
        }
        told => told.and_then(Result::ok),
    };
    match &told {
        Some(told) if command.json => output.json(&json!({ "pipelines": found, "messages": told })),
        None if command.json => output.json(&json!({ "pipelines": found })),
        Some(told) => sent(told, output),
        None => {}
    }
    problems.extend(unread);
    let name = |stale: &run::Stale| format!("`{}`", stale.pipeline.as_ref().unwrap_or(&stale.file));
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

pub(super) fn gc(command: &Gc, state: Option<&Path>, output: &mut Output) -> Done {
    let keep = Keep { runs: command.runs.get(), logs: command.logs.get(), dry_run: command.dry_run };
    let removed = located(state)?.collect_garbage(keep).map_err(failed)?;
    if command.json {
        let mut value = serde_json::to_value(removed).unwrap_or_default();
        value["dry_run"] = command.dry_run.into();
        output.json(&value);
        return Ok(ExitCode::Success);
    }
    let text = render_removed(&removed, command.dry_run);
    if text.is_empty() {
        output.hint("there is nothing to remove");
    }
    output.text(&text);
    Ok(ExitCode::Success)
}

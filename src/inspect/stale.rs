//! Finds pipelines that are overdue: without a success for longer than their `expect` allows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Result, codes};
use crate::open::{database_error, last_good, place_of, yaml_files_below};
use crate::pipeline::{self, Document, is_pipeline};
use crate::state::{LastGood, Runs, StateDir};
use crate::value::{PositiveDuration, utc};

/// A pipeline file and whether it is overdue.
#[derive(Clone, Debug, Serialize)]
pub struct Stale {
    /// The file.
    pub file: String,
    /// The name of the pipeline, if known.
    pub pipeline: Option<String>,
    /// The longest time between successes; none if the file expects none.
    pub success_every: Option<PositiveDuration>,
    /// When a run last ended in success or warning.
    pub last_success: Option<String>,
    /// When the next success is due, or was. None if the first use of the file is unknown.
    pub due: Option<String>,
    /// Whether it is overdue.
    pub is_stale: bool,
    /// A problem of the file.
    pub problem: Option<Diagnostic>,
}

/// The judged files, and the problems of the others.
#[derive(Debug, Default)]
pub struct Judged {
    /// The files that could be judged.
    pub pipelines: Vec<Stale>,
    /// Why other files could not be judged.
    pub problems: Vec<Diagnostic>,
}

/// The expectation of a file.
struct Expected {
    pipeline: Option<String>,
    every: Option<PositiveDuration>,
    problem: Option<Diagnostic>,
}

/// Judges these files and the pipelines below these folders, or, if none are given, all files that ran and expect a success.
/// Each file is judged once. A file that cannot be read does not stop the others.
pub fn stale(state: &StateDir, paths: &[PathBuf], now: Timestamp) -> Result<Judged, Vec<Diagnostic>> {
    let failed = |error| vec![database_error(&error)];
    let runs = state.runs().map_err(failed)?;
    let (good, kept) = match &runs {
        Some(runs) => (runs.last_good(&utc(now)).map_err(failed)?, runs.kept_files().map_err(failed)?),
        None => Default::default(),
    };
    let mut judged = Judged::default();
    let mut judge = |file: &Path, expected: Expected, used: Option<&str>| {
        let place = place_of(file);
        let own: Vec<&LastGood> = good.iter().filter(|good| place_of(&good.file) == place).collect();
        let last = own.iter().filter_map(|good| good.good.as_deref()).max();
        let first = own
            .iter()
            .filter_map(|good| good.first.as_deref())
            .chain(used.filter(|used| *used <= utc(now).as_str()))
            .min();
        judged.pipelines.push(judgement(file, expected, last, first, now));
    };
    if paths.is_empty() {
        for (file, number, used) in &kept {
            let expected = expected_of_known(state, runs.as_ref(), file, *number)?;
            if expected.every.is_some() || expected.problem.is_some() {
                judge(file, expected, Some(used));
            }
        }
        return Ok(judged);
    }
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for file in files(paths, &mut problems) {
        let place = place_of(&file);
        if !seen.insert(place.clone()) {
            continue;
        }
        let used = kept.iter().find(|(path, ..)| *path == place).map(|(.., used)| used.as_str());
        match pipeline::load(&file) {
            Ok((_, outline)) => {
                let every = outline.expect.as_ref().and_then(|expect| expect.success_every);
                judge(&file, Expected { pipeline: Some(outline.name.to_string()), every, problem: None }, used);
            }
            Err(found) => {
                if let Some(((_, outline), _)) = last_good(state, &file) {
                    let every = outline.expect.as_ref().and_then(|expect| expect.success_every);
                    judge(&file, Expected { pipeline: Some(outline.name.to_string()), every, problem: None }, used);
                }
                problems.extend(found);
            }
        }
    }
    judged.problems = problems;
    Ok(judged)
}

fn judgement(file: &Path, expected: Expected, last: Option<&str>, first: Option<&str>, now: Timestamp) -> Stale {
    let Expected { pipeline, every, problem } = expected;
    let parsed = |text: &str| text.parse::<Timestamp>().ok();
    // Without any success, the time counts from the first use.
    let base = last.or(first).and_then(parsed);
    let due = base.zip(every).and_then(|(base, every)| base.checked_add(every.get()).ok());
    // A pipeline that never ran here is overdue too.
    let is_stale = every.is_some() && due.is_none_or(|due| due < now);
    Stale {
        file: file.display().to_string(),
        pipeline,
        success_every: every,
        last_success: last.map(str::to_owned),
        due: due.map(utc),
        is_stale,
        problem,
    }
}

/// The files themselves, and the pipelines below the folders.
fn files(paths: &[PathBuf], problems: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let below = yaml_files_below(path, &mut |path, error| {
            let message = format!("`{}` cannot be looked through", path.display());
            problems.push(Diagnostic::usage(codes::TL0726, message).cause(&error));
        });
        for file in below {
            match is_pipeline(&file) {
                Ok(true) => found.push(file),
                Ok(false) => {}
                Err(problem) => problems.push(problem),
            }
        }
    }
    found
}

/// The expectation of a file that ran: from its text now, else from its last good text.
fn expected_of_known(
    state: &StateDir,
    runs: Option<&Runs>,
    file: &Path,
    number: u32,
) -> Result<Expected, Vec<Diagnostic>> {
    let nothing = |problem| Expected { pipeline: None, every: None, problem: Some(problem) };
    // Reported and not overdue: a file that was moved would be overdue for ever under its old path.
    if fs::symlink_metadata(file).is_err() {
        return Ok(nothing(said(file, "is gone")));
    }
    if !is_pipeline(file).unwrap_or(true) {
        return Ok(nothing(said(file, "is no pipeline any more")));
    }
    if let Ok((_, outline)) = pipeline::load(file) {
        let every = outline.expect.as_ref().and_then(|expect| expect.success_every);
        return Ok(Expected { pipeline: Some(outline.name.to_string()), every, problem: None });
    }
    let problem = said(file, "has mistakes: what is said of it goes by its last good text");
    let failed = |error| vec![database_error(&error)];
    let versions = runs.map(|_| state.peek_versions()).transpose().map_err(failed)?.flatten();
    let texts = versions.map(|versions| versions.texts(file, number)).transpose().map_err(failed)?.unwrap_or_default();
    let text = texts.into_iter().next().map(|text| String::from_utf8_lossy(&text.content).into_owned());
    let name = file.display().to_string();
    let folder = file.parent().unwrap_or(file).to_owned();
    let document = text.and_then(|text| Document::parse(name, folder, text).ok());
    let value = |pointer: &str| document.as_ref()?.value().pointer(pointer)?.as_str().map(str::to_owned);
    let every = value("/expect/success-every").and_then(|every| PositiveDuration::try_from(every).ok());
    Ok(Expected { pipeline: value("/name"), every, problem: Some(problem) })
}

fn said(file: &Path, what: &str) -> Diagnostic {
    let help = format!("`tl versions {}` has the texts that it ran with", file.display());
    Diagnostic::warning(codes::TL0763, format!("`{}` {what}", file.display())).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_due_so_long_after_the_last_one_or_the_first_use() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let judge = |every: Option<&str>, last: Option<&str>, first: Option<&str>| {
            let every = every.map(|every| PositiveDuration::try_from(every.to_owned()).unwrap());
            let expected = Expected { pipeline: None, every, problem: None };
            let stale = judgement(Path::new("p.yaml"), expected, last, first, now);
            (stale.is_stale, stale.due)
        };
        let due = |text: &str| Some(format!("2026-11-{text}:00:00.000Z"));
        let yesterday = Some("2026-11-23T11:00:00.000Z");
        assert_eq!(judge(Some("1d"), yesterday, None), (true, due("24T11")));
        assert_eq!(judge(Some("2d"), yesterday, None), (false, due("25T11")));
        assert_eq!(judge(Some("1d"), Some("2026-11-24T11:00:00.000Z"), yesterday), (false, due("25T11")));
        assert_eq!(judge(Some("2d"), None, yesterday), (false, due("25T11")));
        assert_eq!(judge(Some("1h"), None, yesterday), (true, due("23T12")));
        assert_eq!(judge(Some("1d"), None, None), (true, None));
        assert_eq!(judge(None, yesterday, None), (false, None));
    }
}

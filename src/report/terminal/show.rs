//! All that is known of one run.

use serde_json::{Map, Value as Json};

use super::history::{SECONDS, moment, times};
use super::table::{Cell, Tone, table};
use super::tally::{did, object};
use super::told::told;
use super::{Screen, plain, render_diagnostic};
use crate::event::called;
use crate::state::{Life, Record, Remark, Run, StageRun};
use crate::value::human_duration;

/// So many remarks of a stage are shown.
const MOST_REMARKS: usize = 20;

/// All that is known of a run, and what to do next.
pub fn render_run(record: &Record, screen: Screen) -> String {
    let mut text = head(&record.run, screen);
    text.push_str(&stages(record, screen));
    if let Some(error) = &record.run.error {
        text.push_str(&render_diagnostic(&told(error), screen.style));
    }
    for step in next_steps(record) {
        text.push_str(&screen.wrap(&step, 0));
    }
    text
}

fn head(run: &Run, screen: Screen) -> String {
    let word = Tone::of(run.word()).paint(run.word(), screen.style);
    let took =
        run.seconds.filter(|_| run.life == Life::Ended).map(|seconds| format!(" in {}", human_duration(seconds)));
    let mut text = format!("{}  {word}{}\n", plain(&run.pipeline), took.unwrap_or_default());
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:8} {}\n", plain(value)));
    line("run", &run.id);
    line("started", &moment(&run.started, SECONDS));
    if let Some(ended) = &run.ended {
        line("ended", &moment(ended, SECONDS));
    }
    if let Some(code @ 1..) = run.exit_code {
        line("exit", &code.to_string());
    }
    if !run.left_out.is_empty() {
        line("left out", &run.left_out.join(", "));
    }
    line("file", &run.file.display().to_string());
    line("sha256", &run.sha256);
    match &run.inputs {
        Some(Json::Object(inputs)) => {
            for (name, value) in inputs {
                line("input", &format!("{name} = {value}"));
            }
        }
        _ => line("inputs", "not kept: they hold a secret"),
    }
    if run.sessions > 1 {
        line("sessions", &format!("{}: resumed {}", run.sessions, times(run.sessions - 1)));
    }
    text
}

/// A stage and its instances, as they stand below each other: whether it is an instance, and what is known of it.
fn in_order(stages: &[StageRun]) -> Vec<(bool, &StageRun)> {
    let mut names: Vec<&str> = Vec::new();
    for stage in stages {
        if !names.contains(&stage.stage.as_str()) {
            names.push(&stage.stage);
        }
    }
    let of = |name: &str| {
        let mut own: Vec<(bool, &StageRun)> =
            stages.iter().filter(|stage| stage.stage == name).map(|stage| (stage.instance.is_some(), stage)).collect();
        own.sort_by_key(|(is_instance, _)| *is_instance);
        own
    };
    names.iter().flat_map(|name| of(name)).collect()
}

fn stages(record: &Record, screen: Screen) -> String {
    let stages = in_order(&record.stages);
    let rows: Vec<Vec<Cell>> =
        stages.iter().map(|(is_instance, stage)| row(*is_instance, stage, &record.run)).collect();
    let lines = table(&rows, 2, &[1, 4], screen);
    let mut text = String::new();
    for (line, (is_instance, stage)) in lines.lines().zip(&stages) {
        text.push_str(line);
        text.push('\n');
        let indent = if *is_instance { 6 } else { 4 };
        let empty = Map::new();
        let outputs = stage.outputs.as_ref().and_then(Json::as_object).unwrap_or(&empty);
        if let Some(uri) = object(outputs) {
            text.push_str(&format!("{:indent$}{uri}\n", ""));
        }
        text.push_str(&remarks(record, stage, indent, screen));
        if let Some(error) = &stage.error {
            text.push_str(&indented(&render_diagnostic(&told(error), screen.style), indent));
        }
    }
    text
}

fn row(is_instance: bool, stage: &StageRun, run: &Run) -> Vec<Cell> {
    let word = match (&stage.outcome, run.life) {
        (Some(outcome), _) => outcome,
        (None, Life::Running) if stage.session == run.sessions => "running",
        _ => "interrupted",
    };
    let name = match &stage.instance {
        Some(instance) if is_instance => format!("  {instance}"),
        _ => stage.stage.clone(),
    };
    let empty = Map::new();
    let outputs = stage.outputs.as_ref().and_then(Json::as_object).unwrap_or(&empty);
    let mut detail = did(outputs, stage.bytes.unwrap_or_default());
    if stage.attempt > 1 {
        detail.push(format!("{} attempts", stage.attempt));
    }
    if run.sessions > 1 && stage.session < run.sessions {
        detail.push(format!("done in session {}", stage.session));
    }
    detail.extend(stage.reason.clone());
    let took = stage.seconds.map(human_duration).unwrap_or_default();
    let kind = stage.kind.clone().unwrap_or_default();
    vec![
        Cell::outcome(word),
        Cell::new(name),
        Cell::new(kind).tone(Tone::Faint),
        Cell::right(took),
        Cell::new(detail.join(", ")),
    ]
}

fn remarks(record: &Record, stage: &StageRun, indent: usize, screen: Screen) -> String {
    let is_own = |remark: &&Remark| remark.stage == stage.stage && remark.instance == stage.instance;
    let own: Vec<&Remark> = record.remarks.iter().filter(is_own).collect();
    let mut text = String::new();
    for remark in own.iter().take(MOST_REMARKS) {
        if remark.is_retry {
            let session = (record.run.sessions > 1).then(|| format!(" of session {}", remark.session));
            text.push_str(&format!("attempt {}{} failed:\n", remark.attempt, session.unwrap_or_default()));
        }
        text.push_str(&render_diagnostic(&told(&remark.problem), screen.style));
    }
    if own.len() > MOST_REMARKS {
        text.push_str(&format!("and {} more, which `--json` shows\n", own.len() - MOST_REMARKS));
    }
    indented(&text, indent)
}

fn indented(text: &str, indent: usize) -> String {
    text.lines().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// What a person may do now.
fn next_steps(record: &Record) -> Vec<String> {
    let run = &record.run;
    let id = &run.id;
    let resume = format!("next: `tl run --resume {id}` does again only what is not proven done");
    let audit = format!("next: `tl audit show --run {id}` has the signed record of it");
    let first = first_problem(record);
    let explain = first.map(|(of, code)| format!("next: `tl explain {code}` says what the problem of {of} means"));
    match run.word() {
        "running" => vec!["next: `tl status --watch` follows it".to_owned()],
        "interrupted" => vec![format!("its process ended without a word. {resume}")],
        "failure" | "cancelled" => explain.into_iter().chain([resume]).collect(),
        "blocked" => explain.into_iter().chain(["then run the file again".to_owned()]).collect(),
        "success" | "warning" if !run.left_out.is_empty() => {
            vec![format!("next: `tl run --resume {id}` does what was left out")]
        }
        "warning" if record.stages.iter().any(|stage| stage.error.is_some()) => {
            let again = format!("next: `tl run --rerun-failed {id}` tries again what failed");
            explain.into_iter().chain([again]).collect()
        }
        "warning" => explain.into_iter().chain([audit]).collect(),
        _ => vec![audit],
    }
}

/// Whose problem a person looks at first, and its code.
fn first_problem(record: &Record) -> Option<(String, String)> {
    let code = |problem: &Json| problem["code"].as_str().map(plain);
    let name = |stage: &str, instance: Option<&str>| format!("`{}`", plain(&called(stage, instance)));
    let failed = record.stages.iter().find_map(|stage| {
        let code = stage.error.as_ref().and_then(code)?;
        Some((name(&stage.stage, stage.instance.as_deref()), code))
    });
    let own = || Some(("the run".to_owned(), record.run.error.as_ref().and_then(code)?));
    let remarks = || {
        let last = record.remarks.iter().rfind(|remark| !remark.is_retry)?;
        Some((name(&last.stage, last.instance.as_deref()), code(&last.problem)?))
    };
    failed.or_else(own).or_else(remarks)
}

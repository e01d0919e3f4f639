use std::path::Path;

use serde_json::{Value as Json, json};

use super::Done;
use super::arguments::{Inputs, Notify, Occasion};
use super::pipeline::given;
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::pipeline::When;
use crate::report::{Output, render_outbox, render_preview};
use crate::run::{self, Flushed};
use crate::state::StateDir;

pub(super) fn notify(command: &Notify, state: Option<&Path>, output: &mut Output) -> Done {
    match command {
        Notify::Preview { file, when, html, json } => preview(file, *when, *html, *json, output),
        Notify::Test { file, channel, inputs, json } => test(file, channel.as_deref(), inputs, *json, output),
        Notify::Flush { all, json } => flush(&located(state)?, *all, *json, output),
        Notify::List { json } => list(&located(state)?, *json, output),
    }
}

fn located(state: Option<&Path>) -> Result<StateDir, Vec<Diagnostic>> {
    StateDir::locate(state).map_err(|error| vec![Diagnostic::usage(codes::TL0707, error.to_string())])
}

fn preview(file: &Path, when: Occasion, html: bool, json: bool, output: &mut Output) -> Done {
    let previews = run::preview(file, when.into())?;
    if json {
        output.json(&serde_json::to_value(&previews).unwrap_or(Json::Null));
        return Ok(ExitCode::Success);
    }
    for preview in &previews {
        match &preview.html {
            Some(text) if html => output.text(text),
            None if html => output.hint(&format!("{}: no `template-html`, so there is no HTML", preview.to.join(", "))),
            _ => output.text(&render_preview(preview, output.style())),
        }
    }
    Ok(ExitCode::Success)
}

fn test(file: &Path, channel: Option<&str>, inputs: &Inputs, json: bool, output: &mut Output) -> Done {
    let tested = run::test(file, &given(inputs)?, channel)?;
    let failed = tested.iter().any(|tested| tested.error.is_some());
    if json {
        output.json(&json!({ "channels": tested }));
        return Ok(ExitCode::failed_if(failed));
    }
    for tested in &tested {
        match (&tested.delivered, &tested.error) {
            (_, Some(error)) => output.problem(error),
            (how, None) => output.line(&format!("{}: {}", tested.channel, how.as_deref().unwrap_or_default())),
        }
    }
    if tested.is_empty() {
        output.hint("the file has no channels");
    }
    Ok(ExitCode::failed_if(failed))
}

fn flush(state: &StateDir, all: bool, json: bool, output: &mut Output) -> Done {
    let flushed = run::flush(state, all)?;
    if json {
        output.json(&serde_json::to_value(&flushed).unwrap_or(Json::Null));
        return Ok(ExitCode::failed_if(flushed.is_lacking()));
    }
    sent(&flushed, output);
    if flushed.tried.is_empty() && flushed.problems.is_empty() {
        output.hint("nothing is due");
    }
    Ok(ExitCode::failed_if(flushed.is_lacking()))
}

/// Shows what came of messages.
pub(super) fn sent(flushed: &Flushed, output: &mut Output) {
    for tried in &flushed.tried {
        match &tried.error {
            Some(error) => output.problem(error),
            None => output.line(&format!(
                "{} to {}: {}",
                tried.id,
                tried.channel,
                tried.delivered.as_deref().unwrap_or_default()
            )),
        }
    }
    flushed.problems.iter().for_each(|problem| output.problem(problem));
}

fn list(state: &StateDir, json: bool, output: &mut Output) -> Done {
    let entries = run::list(state)?;
    if json {
        output.json(&json!({ "messages": entries }));
    } else if entries.is_empty() {
        output.hint("the outbox is empty");
    } else {
        output.text(&render_outbox(&entries, output.style()));
    }
    Ok(ExitCode::Success)
}

impl From<Occasion> for When {
    fn from(occasion: Occasion) -> Self {
        match occasion {
            Occasion::Started => Self::Started,
            Occasion::Success => Self::Success,
            Occasion::Warning => Self::Warning,
            Occasion::Failure => Self::Failure,
            Occasion::Skipped => Self::Skipped,
            Occasion::Cancelled => Self::Cancelled,
            Occasion::Blocked => Self::Blocked,
            Occasion::Recovered => Self::Recovered,
            Occasion::Stale => Self::Stale,
        }
    }
}

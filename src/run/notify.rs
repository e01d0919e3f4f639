//! Whom to tell, and what.

use std::fs;

use serde_json::{Value as Json, json};

use super::prepare::Loaded;
use crate::audit;
use crate::channels::Message;
use crate::diagnostic::{Diagnostic, Result};
use crate::event::{Outcome, What};
use crate::pipeline::{Notification, When};
use crate::stages::{Shared, deliver};
use crate::template;

/// What a message says of a run.
pub(super) struct News<'a> {
    pub(super) when: When,
    pub(super) seconds: f64,
    /// Each stage: name, result, detail.
    pub(super) stages: Vec<Json>,
    /// The checkpoint that covers the run.
    pub(super) audit: Option<Json>,
    /// Why the run could not start or was stopped.
    pub(super) error: Option<String>,
    pub(super) loaded: &'a Loaded,
}

/// The word for an outcome in `notify.when`.
pub(super) fn when(outcome: Outcome) -> When {
    match outcome {
        Outcome::Success => When::Success,
        Outcome::Warning => When::Warning,
        Outcome::Failure => When::Failure,
        Outcome::Skipped => When::Skipped,
        Outcome::Cancelled => When::Cancelled,
        Outcome::Blocked => When::Blocked,
    }
}

/// Tells everybody who wants to know. A message that is not delivered changes nothing of the run.
pub(super) fn tell(shared: &Shared, news: &News<'_>, recovered: bool, emit: &mut dyn FnMut(What)) {
    for (number, notification) in news.loaded.pipeline.notify.iter().enumerate() {
        let when = if recovered && notification.when.contains(&When::Recovered) {
            When::Recovered
        } else if notification.when.contains(&news.when) {
            news.when
        } else {
            continue;
        };
        match message(shared, news, notification, when, number) {
            Ok(message) => {
                for channel in &notification.to {
                    let result = deliver(shared, channel, &message);
                    emit(told(channel, when, &message.subject, &message.body, result));
                }
            }
            Err(error) => {
                for channel in &notification.to {
                    emit(told(channel, when, "", "", Err(error.clone())));
                }
            }
        }
    }
}

fn told(channel: &str, when: When, subject: &str, body: &str, result: Result<String>) -> What {
    let (delivered, error) = match result {
        Ok(how) => (Some(how), None),
        Err(error) => (None, Some(error)),
    };
    What::Message {
        channel: channel.to_owned(),
        when: when.word().to_owned(),
        subject: subject.to_owned(),
        body: body.to_owned(),
        delivered,
        error,
    }
}

fn message(shared: &Shared, news: &News<'_>, about: &Notification, when: When, number: usize) -> Result<Message> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut values = json!({
        "pipeline": shared.pipeline,
        "description": news.loaded.pipeline.description,
        "file": news.loaded.document.name(),
        "run": shared.run,
        "when": when.word(),
        "result": when.word(),
        "seconds": news.seconds,
        "host": host,
        "stages": news.stages,
        "audit": news.audit,
        "error": news.error,
    });
    shared.masker.mask_json(&mut values);
    let template = match &about.template {
        Some(path) => {
            let path = shared.base.join(path);
            Some(fs::read_to_string(&path).map_err(|error| {
                Diagnostic::failure("TL0671", format!("the template `{}` cannot be read", path.display())).cause(&error)
            })?)
        }
        None => None,
    };
    let text = template::render(template.as_deref(), &values).map_err(|error| {
        let name = about.template.as_deref().unwrap_or("default");
        Diagnostic::failure("TL0671", format!("the template `{name}` cannot be filled")).cause(&error)
    })?;
    // The first line is the subject, as in a git commit.
    let (subject, body) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(Message {
        id: format!("{}.{}.{number}", shared.run, when.word()),
        time: jiff::Timestamp::now().to_string(),
        when: when.word().to_owned(),
        pipeline: shared.pipeline.clone(),
        run: shared.run.clone(),
        subject: subject.to_owned(),
        body: body.trim_start_matches('\n').to_owned(),
    })
}

/// Whether the run before this one, of the same pipeline, did not succeed.
pub(super) fn failed_before(folder: &std::path::Path, pipeline: &str, run: &str) -> bool {
    let filter = audit::Filter { kind: Some("run.finished".to_owned()), ..audit::Filter::default() };
    let Ok(records) = audit::read(folder, filter) else { return false };
    let last = records
        .filter_map(std::result::Result::ok)
        .filter(|record| record.run.as_deref() != Some(run) && record.data.get("pipeline") == Some(&pipeline.into()))
        .last();
    last.is_some_and(|record| {
        let outcome = record.data.get("outcome").and_then(Json::as_str);
        matches!(outcome, Some("failure" | "blocked"))
    })
}

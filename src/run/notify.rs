//! Whom to tell, and what.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::audit;
use crate::channels::Message;
use crate::diagnostic::{Diagnostic, Result};
use crate::event::{Outcome, What};
use crate::pipeline::{Document, Notification, Pipeline, When};
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
    pub(super) document: &'a Document,
    pub(super) pipeline: &'a Pipeline,
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
    for (number, notification) in news.pipeline.notify.iter().enumerate() {
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
    let mut values = values(news, &shared.run, when);
    shared.masker.mask_json(&mut values);
    let text = match fill(&shared.base, about, &values) {
        Ok(text) => text,
        // The file was proven with this template, but it may have changed since. Better a plain message than none.
        Err(error) => {
            let plain = template::render(None, &values).map_err(|_| error.clone())?;
            format!("{plain}{}\n", error.one_line())
        }
    };
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
        html: None,
        folder: shared.base.clone(),
    })
}

/// What a template may use.
fn values(news: &News<'_>, run: &str, when: When) -> Json {
    json!({
        "pipeline": news.pipeline.name,
        "description": news.pipeline.description,
        "file": news.document.name(),
        "run": run,
        "when": when.word(),
        "result": when.word(),
        "seconds": news.seconds,
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "stages": news.stages,
        "audit": news.audit,
        "error": news.error,
    })
}

fn fill(base: &Path, about: &Notification, values: &Json) -> Result<String> {
    let template = match &about.template {
        Some(path) => {
            let path = base.join(path);
            Some(fs::read_to_string(&path).map_err(|error| {
                Diagnostic::usage("TL0671", format!("the template `{}` cannot be read", path.display())).cause(&error)
            })?)
        }
        None => None,
    };
    template::render(template.as_deref(), values).map_err(|error| {
        let name = about.template.as_deref().unwrap_or("default");
        Diagnostic::usage("TL0671", format!("the template `{name}` cannot be filled"))
            .cause(&error)
            .help("it may use pipeline, description, file, run, when, result, seconds, host, stages, audit, error")
    })
}

/// Fills each template as each of its occasions would: a mistake in the message of a failure must not wait for one.
pub(super) fn check_templates(document: &Document, pipeline: &Pipeline) -> Vec<Diagnostic> {
    let stage =
        |result: &str, detail: Json| json!({ "name": "stage", "result": result, "seconds": 1.5, "detail": detail });
    let mut found = Vec::new();
    for (number, about) in pipeline.notify.iter().enumerate().filter(|(_, about)| about.template.is_some()) {
        for &when in &about.when {
            let ran = !matches!(when, When::Started | When::Blocked);
            let news = News {
                when,
                seconds: 1.5,
                stages: if ran {
                    vec![stage("success", Json::Null), stage("failure", "why".into())]
                } else {
                    Vec::new()
                },
                audit: ran.then(|| json!({ "size": 12, "root": "root" })),
                error: (when == When::Blocked).then(|| "why".to_owned()),
                document,
                pipeline,
            };
            if let Err(error) = fill(document.folder(), about, &values(&news, "run", when)) {
                let pointer = format!("/notify/{number}/template");
                found.push(error.at(document.at_value(&pointer)).label(format!("for `{}`", when.word())));
                break;
            }
        }
    }
    found
}

/// Whether the run before this one, of the same pipeline, did not succeed.
pub(super) fn failed_before(folder: &Path, pipeline: &str, run: &str) -> bool {
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

//! What messages say: the values and templates behind their texts.
//!
//! Checked with the file, since a mistake in the message of a failure must not wait for one.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::{Did, Outcome};
use crate::pipeline::{Document, Notification, Pipeline, When};
use crate::template::{self, Form, Template};
use crate::value::Masker;

/// The facts that a message reports.
pub(crate) struct News<'a> {
    /// The outcome of the run; `started` if it has not ended.
    pub(crate) result: When,
    /// Whether the run counts as a success.
    pub(crate) counts: bool,
    pub(crate) seconds: f64,
    /// The stages that ended, each as [`stage`] gives it.
    pub(crate) stages: Vec<Json>,
    /// The checkpoint that covers the run.
    pub(crate) audit: Option<Json>,
    /// Why the run could not start or was cancelled.
    pub(crate) error: Option<String>,
    /// How long the pipeline is overdue, as [`lateness`] gives it.
    pub(crate) stale: Option<Json>,
    pub(crate) document: &'a Document,
    pub(crate) pipeline: &'a Pipeline,
}

impl<'a> News<'a> {
    /// A result without further facts.
    pub(crate) fn of(result: When, document: &'a Document, pipeline: &'a Pipeline) -> Self {
        Self {
            result,
            counts: false,
            seconds: 0.0,
            stages: Vec::new(),
            audit: None,
            error: None,
            stale: None,
            document,
            pipeline,
        }
    }
}

/// The values of one stage in templates.
pub(crate) fn stage(name: &str, outcome: Outcome, seconds: f64, did: &Did, detail: Option<String>) -> Json {
    json!({
        "name": name,
        "result": outcome.word(),
        "seconds": seconds,
        "bytes": did.bytes,
        "delivered": did.delivered,
        "files": did.files,
        "detail": detail.map(|text| one_line(&text)),
    })
}

/// The value of `stale` in templates, for an overdue pipeline. Times are RFC 3339; none if unknown.
pub(crate) fn lateness(every: &str, last_success: Option<&str>, due: Option<&str>, seconds: Option<f64>) -> Json {
    json!({ "every": every, "last_success": last_success, "due": due, "seconds": seconds })
}

/// A rendered message.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) body: String,
    pub(crate) html: Option<String>,
}

/// Renders the templates of an entry of `notify`, by its number, or the shipped ones.
pub(crate) fn render(document: &Document, number: usize, about: &Notification, values: &Json) -> Result<Rendered> {
    let text = fill(document.folder_of(&pointer(number, TEMPLATE)), about.template.as_deref(), Form::Text, values)?;
    let html = match (&about.template, &about.template_html) {
        // The shipped HTML would not match the user's text.
        (Some(_), None) => None,
        (_, html) => Some(fill(document.folder_of(&pointer(number, HTML)), html.as_deref(), Form::Html, values)?),
    };
    Ok(Rendered { html, ..split(&text) })
}

/// The first line is the subject, as in a git commit.
pub(crate) fn split(text: &str) -> Rendered {
    let (subject, body) = text.split_once('\n').unwrap_or((text, ""));
    Rendered { subject: subject.to_owned(), body: body.trim_start_matches('\n').to_owned(), html: None }
}

/// The keys of an entry of `notify` that name templates.
const TEMPLATE: &str = "template";
const HTML: &str = "template-html";

/// The JSON pointer to such a key.
fn pointer(number: usize, key: &str) -> String {
    format!("/notify/{number}/{key}")
}

fn fill(base: &Path, path: Option<&str>, form: Form, values: &Json) -> Result<String> {
    let unfilled = |error: template::Error| {
        let diagnostic = match &error {
            template::Error::Read { .. } => {
                Diagnostic::usage(codes::TL0671, format!("the template `{}` cannot be read", path.unwrap_or("shipped")))
            }
            _ => Diagnostic::usage(
                codes::TL0671,
                format!("the template `{}` cannot be filled", path.unwrap_or("shipped")),
            )
            .help(VALUES),
        };
        diagnostic.cause(&error)
    };
    let template = match path {
        Some(path) => Template::read(&base.join(path)).map_err(unfilled)?,
        None => Template::shipped(form),
    };
    template.render(form, values).map_err(unfilled)
}

const VALUES: &str = "it may use pipeline, description, file, run, when, result, at, seconds, host, stages, counts, summary, \
                      files, bytes, audit, error, stale";

/// All values that templates can use. Texts that can hold a secret are masked. Words of `tl` and names of the file are not: a
/// template decides by them.
pub(crate) fn values(news: &News<'_>, run: &str, when: When, masker: &Masker) -> Json {
    let sum = |key: &str| news.stages.iter().filter_map(|stage| stage[key].as_u64()).sum::<u64>();
    let words = ["success", "warning", "failure", "skipped", "cancelled"];
    let count = |word: &str| news.stages.iter().filter(|stage| stage["result"] == word).count();
    let counts: Map<String, Json> = words.iter().map(|&word| (word.to_owned(), count(word).into())).collect();
    let summary: Vec<String> =
        words.iter().filter(|word| count(word) > 0).map(|word| format!("{} {word}", count(word))).collect();
    let mask = |text: &String| masker.mask(text);
    let mut stages = news.stages.clone();
    for detail in stages.iter_mut().filter_map(|stage| stage.get_mut("detail")) {
        masker.mask_json(detail);
    }
    json!({
        "pipeline": news.pipeline.name,
        "description": news.pipeline.description,
        "file": one_line(news.document.name()),
        "run": run,
        "when": when.word(),
        "result": news.result.word(),
        "at": jiff::Timestamp::now().to_string(),
        "seconds": news.seconds,
        "host": news.pipeline.host(),
        "stages": stages,
        "counts": counts,
        "summary": summary.join(", "),
        "files": sum("files"),
        "bytes": sum("delivered"),
        "audit": news.audit,
        "error": news.error.as_ref().map(mask),
        "stale": news.stale,
    })
}

/// A value on one line. It must not be able to add lines to a message.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Made-up facts for a preview or a check.
pub(crate) fn sample<'a>(when: When, document: &'a Document, pipeline: &'a Pipeline) -> News<'a> {
    let ran = !matches!(when, When::Started | When::Blocked | When::Stale);
    let second = match when {
        When::Success | When::Recovered | When::Started | When::Blocked | When::Stale => (Outcome::Success, None),
        When::Warning => (Outcome::Warning, Some("why")),
        When::Failure => (Outcome::Failure, Some("why")),
        When::Skipped => (Outcome::Skipped, Some("why")),
        When::Cancelled => (Outcome::Cancelled, Some("why")),
    };
    let first = if when == When::Skipped { Outcome::Skipped } else { Outcome::Success };
    let collected = Did { files: Some(3), bytes: Some(4096), ..Did::default() };
    let size = Some(1_234_567);
    let delivered = Did { bytes: size, delivered: size, ..Did::default() };
    let stages = vec![
        stage("collect", first, 1.5, &if first.is_ok() { collected } else { Did::default() }, None),
        stage(
            "deliver",
            second.0,
            2.5,
            &if second.0.is_ok() { delivered } else { Did::default() },
            second.1.map(str::to_owned),
        ),
    ];
    News {
        result: if when == When::Recovered { When::Success } else { when },
        counts: matches!(when, When::Success | When::Warning | When::Recovered),
        seconds: if matches!(when, When::Started | When::Stale) { 0.0 } else { 4.0 },
        stages: if ran { stages } else { Vec::new() },
        audit: ran.then(|| json!({ "size": 12, "root": "root" })),
        error: (when == When::Blocked).then(|| "why".to_owned()),
        stale: (when == When::Stale).then(|| {
            lateness("1d", Some("2026-01-01T02:00:00.000Z"), Some("2026-01-02T02:00:00.000Z"), Some(93_600.0))
        }),
        document,
        pipeline,
    }
}

/// Renders each template for each of its occasions. A mistake in the message of a failure must not wait for a failure.
pub(crate) fn check_templates(document: &Document, pipeline: &Pipeline) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (number, about) in pipeline.notify.iter().enumerate() {
        let templates = [(TEMPLATE, &about.template, Form::Text), (HTML, &about.template_html, Form::Html)];
        for (key, path, form) in templates {
            let Some(path) = path else { continue };
            let pointer = pointer(number, key);
            let never =
                News { stale: Some(lateness("1d", None, None, None)), ..sample(When::Stale, document, pipeline) };
            let samples = about.when.iter().map(|&when| (when, sample(when, document, pipeline)));
            // A pipeline that never succeeded has no times.
            let samples = samples.chain(about.when.contains(&When::Stale).then_some((When::Stale, never)));
            let failed = samples.into_iter().find_map(|(when, news)| {
                let values = values(&news, "run", when, &Masker::default());
                fill(document.folder_of(&pointer), Some(path), form, &values).err().map(|error| (when, error))
            });
            if let Some((when, error)) = failed {
                found.push(error.at(document.at_value(&pointer)).label(format!("for `{}`", when.word())));
            }
        }
    }
    found
}

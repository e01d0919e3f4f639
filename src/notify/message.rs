//! One message: its text from the templates, its id, its secrets masked.

use serde_json::Value as Json;

use crate::channels::Message;
use crate::diagnostic::{Diagnostic, Result};
use crate::open::{News, Rendered, render, split, values};
use crate::pipeline::When;
use crate::template::{Form, Template};
use crate::value::Masker;

/// Where a message comes from.
pub(super) struct Origin<'a> {
    /// What the id of the message begins with. The same message has the same one, whoever makes it.
    pub(super) id: &'a str,
    /// The run that it is about; empty where there was none.
    pub(super) run: &'a str,
    pub(super) masker: &'a Masker,
}

/// The message for the entry of `notify` with this number.
pub(super) fn message(origin: &Origin<'_>, news: &News<'_>, number: usize, when: When) -> Result<Message> {
    let Origin { id, run, masker } = origin;
    let about = &news.pipeline.notify[number];
    let values = values(news, run, when, masker);
    let rendered = render(news.document, number, about, &values).or_else(|error| plainly(&values, &error))?;
    let mask = |text: &str| masker.mask(text);
    Ok(Message {
        id: format!("{id}.{}.{number}", when.word()),
        time: jiff::Timestamp::now().to_string(),
        when: when.word().to_owned(),
        pipeline: news.pipeline.name.to_string(),
        run: (*run).to_owned(),
        subject: mask(&rendered.subject),
        body: mask(&rendered.body),
        html: rendered.html.as_deref().map(mask),
        folder: news.document.folder().to_owned(),
    })
}

/// The file was proven with its templates, but they may have changed since. Better a plain message than none.
fn plainly(values: &Json, error: &Diagnostic) -> Result<Rendered> {
    let plain = Template::shipped(Form::Text).render(Form::Text, values).map_err(|_| error.clone())?;
    let Rendered { subject, body, .. } = split(&plain);
    Ok(Rendered { subject, body: format!("{body}{}\n", error.one_line()), html: None })
}

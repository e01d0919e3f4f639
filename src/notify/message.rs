//! One message: its text from the templates, its id, its secrets masked.

use serde_json::Value as Json;

use crate::channels::Message;
use crate::diagnostic::{Diagnostic, Result};
use crate::open::{News, Rendered, render, split, values};
use crate::pipeline::When;
use crate::template::{Form, Template};
use crate::value::Masker;

/// The origin of a message.
pub(super) struct Origin<'a> {
    /// The start of the message's id. It depends only on the occasion, so that receivers can recognise a repeated message.
    pub(super) id: &'a str,
    /// The run that it is about; empty if there is none.
    pub(super) run: &'a str,
    pub(super) masker: &'a Masker,
}

/// The message for an entry of `notify`, by its number.
pub(super) fn message(origin: &Origin<'_>, news: &News<'_>, number: usize, when: When) -> Result<Message> {
    let Origin { id, run, masker } = origin;
    let about = &news.pipeline.notify[number];
    let values = values(news, run, when, masker);
    let rendered = render(news.document, number, about, &values).or_else(|error| plainly(&values, &error))?;
    Ok(Message {
        id: format!("{id}.{}.{number}", when.word()),
        time: jiff::Timestamp::now().to_string(),
        when: when.word().to_owned(),
        pipeline: news.pipeline.name.to_string(),
        run: (*run).to_owned(),
        host: news.pipeline.host(),
        counts: news.counts,
        // The text of a template may hold a secret, too.
        subject: masker.mask(&rendered.subject),
        body: masker.mask(&rendered.body),
        html: rendered.html.map(|html| masker.mask(&html)),
        folder: news.document.folder().to_owned(),
    })
}

/// The shipped text, with the error of the user's template. Templates were checked with the file but may have changed since;
/// a plain message is better than none.
fn plainly(values: &Json, error: &Diagnostic) -> Result<Rendered> {
    let plain = Template::shipped(Form::Text).render(Form::Text, values).map_err(|_| error.clone())?;
    let Rendered { subject, body, .. } = split(&plain);
    Ok(Rendered { subject, body: format!("{body}{}\n", error.one_line()), html: None })
}

//! Previews of the messages of a pipeline.

use std::path::Path;

use serde::Serialize;

use crate::diagnostic::Diagnostic;
use crate::open::{Rendered, check, render, sample, values};
use crate::pipeline::{Notification, When};
use crate::value::Masker;

/// A message with made-up values.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The channels; none if the file has no entry for the occasion.
    pub to: Vec<String>,
    /// The occasion.
    pub when: &'static str,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// The same as HTML.
    pub html: Option<String>,
}

/// Renders the templates of a file for an occasion with made-up values. Reads no secret and sends nothing.
pub fn preview(path: &Path, when: When) -> Result<Vec<Preview>, Vec<Diagnostic>> {
    let (document, pipeline) = check(path)?;
    let values = values(&sample(when, &document, &pipeline), "01RUN", when, &Masker::default());
    let nobody = Notification { when: vec![when], to: Vec::new(), template: None, template_html: None };
    let mut entries: Vec<(usize, &Notification)> =
        pipeline.notify.iter().enumerate().filter(|(_, entry)| entry.when.contains(&when)).collect();
    if entries.is_empty() {
        entries.push((0, &nobody));
    }
    let fill = |(number, entry): &(usize, &Notification)| {
        let Rendered { subject, body, html } =
            render(&document, *number, entry, &values).map_err(|error| vec![error])?;
        Ok(Preview { to: entry.to.clone(), when: when.word(), subject, body, html })
    };
    entries.iter().map(fill).collect()
}

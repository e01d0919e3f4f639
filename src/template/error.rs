use std::io;
use std::path::PathBuf;

use handlebars::{RenderError, RenderErrorReason, TemplateError};

/// Why a template gave no text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The template cannot be parsed.
    #[error("{}line {line}: {reason}", of(partial.as_deref()))]
    Syntax {
        /// The partial with the error; `None` for the template itself.
        partial: Option<String>,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A partial cannot be included.
    #[error("{0}")]
    Partial(String),
    /// The template cannot be rendered with these values.
    #[error("{}line {line}: {reason}", of(partial.as_deref()))]
    Render {
        /// The partial with the error; `None` for the template itself.
        partial: Option<String>,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

fn of(partial: Option<&str>) -> String {
    partial.map(|name| format!("`{name}.hbs`, ")).unwrap_or_default()
}

/// The name of the template itself in the engine. It has spaces, so no partial can have it.
pub(super) const MAIN: &str = "the template";

fn partial(name: Option<&str>) -> Option<String> {
    name.filter(|name| *name != MAIN).map(str::to_owned)
}

pub(super) fn syntax_error(name: &str, error: &TemplateError) -> Error {
    let line = error.pos().map_or(1, |(line, _)| line);
    Error::Syntax { partial: partial(Some(name)), line, reason: error.reason().to_string() }
}

pub(super) fn render_error(error: &RenderError) -> Error {
    let reason = match error.reason() {
        RenderErrorReason::MissingVariable(Some(name)) => format!("there is no `{name}`"),
        reason => reason.to_string(),
    };
    Error::Render { partial: partial(error.template_name.as_deref()), line: error.line_no.unwrap_or(1), reason }
}

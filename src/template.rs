//! Messages: Handlebars in strict mode, so that a misspelt name is an error and not a gap.
//!
//! The crate `handlebars` is used in this file only.

use handlebars::{Context, Handlebars, Helper, HelperResult, Output, RenderContext, RenderErrorReason};
use serde_json::Value as Json;

use crate::value::{human_bytes, human_duration};

/// Why a template gave no text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be filled.
    #[error("{0}")]
    Render(String),
}

/// What is sent where a file names no template.
const DEFAULT: &str = "\
{{pipeline}}: {{result}} after {{duration seconds}} on {{host}}
{{#each stages}}
{{pad result 9}} {{name}}{{#if detail}}: {{detail}}{{/if}}
{{/each}}
{{#if audit}}
audit log: {{audit.size}} records, root {{audit.root}}
{{/if}}
run {{run}}
";

/// The text of a message.
///
/// Values are put in as they are, but for control characters: what a file name or an error carries must not steer the
/// terminal or the log that shows the message.
pub fn render(template: Option<&str>, values: &Json) -> Result<String, Error> {
    let mut engine = engine();
    engine.register_template_string("message", template.unwrap_or(DEFAULT)).map_err(|error| Error::Syntax {
        line: error.pos().map_or(1, |(line, _)| line),
        reason: error.reason().to_string(),
    })?;
    engine.render("message", values).map_err(|error| {
        let line = error.line_no.unwrap_or(1);
        Error::Render(match error.reason() {
            RenderErrorReason::MissingVariable(Some(name)) => format!("line {line}: there is no `{name}`"),
            reason => format!("line {line}: {reason}"),
        })
    })
}

fn engine() -> Handlebars<'static> {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    engine.register_escape_fn(|text| {
        text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
    });
    engine.register_helper("duration", Box::new(duration));
    engine.register_helper("bytes", Box::new(bytes));
    engine.register_helper("pad", Box::new(pad));
    engine
}

fn number(helper: &Helper, name: &'static str) -> Result<f64, RenderErrorReason> {
    helper.param(0).and_then(|p| p.value().as_f64()).ok_or(RenderErrorReason::ParamTypeMismatchForName(
        name,
        "0".to_owned(),
        "number".to_owned(),
    ))
}

fn duration(h: &Helper, _: &Handlebars, _: &Context, _: &mut RenderContext, out: &mut dyn Output) -> HelperResult {
    out.write(&human_duration(number(h, "duration")?))?;
    Ok(())
}

fn bytes(h: &Helper, _: &Handlebars, _: &Context, _: &mut RenderContext, out: &mut dyn Output) -> HelperResult {
    out.write(&human_bytes(number(h, "bytes")?))?;
    Ok(())
}

fn pad(h: &Helper, _: &Handlebars, _: &Context, _: &mut RenderContext, out: &mut dyn Output) -> HelperResult {
    let text = h.param(0).map(|p| p.value().as_str().unwrap_or_default().to_owned()).unwrap_or_default();
    let width = h.param(1).and_then(|p| p.value().as_u64()).and_then(|w| usize::try_from(w).ok()).unwrap_or(0);
    out.write(&format!("{text:width$}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values() -> Json {
        json!({
            "pipeline": "orders", "result": "failure", "seconds": 83.2, "host": "h1", "run": "01J",
            "audit": { "size": 12, "root": "abc" },
            "stages": [
                { "name": "collect", "result": "success", "detail": null },
                { "name": "deliver", "result": "failure", "detail": "no \u{1b}[31mspace\r\n is left" },
            ],
        })
    }

    #[test]
    fn the_default_says_what_happened() {
        let text = render(None, &values()).unwrap();
        assert_eq!(
            text,
            "orders: failure after 1 min 23 s on h1\nsuccess   collect\nfailure   deliver: no \u{fffd}[31mspace\u{fffd}\n \
             is left\naudit log: 12 records, root abc\nrun 01J\n"
        );
    }

    #[test]
    fn a_misspelt_name_is_an_error() {
        assert!(matches!(render(Some("{{pipelin}}"), &values()), Err(Error::Render(_))));
        assert!(matches!(render(Some("a\n{{#if}"), &values()), Err(Error::Syntax { .. })));
    }
}

//! A template, and how it is rendered.

use std::collections::BTreeMap;
use std::path::Path;

use handlebars::Handlebars;
use serde_json::Value as Json;

use super::Error;
use super::clean::{clean, escape_html};
use super::error::{MAIN, render_error, syntax_error};
use super::{helpers, partials};

/// The format of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Plain text. Values are not escaped.
    Text,
    /// HTML. Values are escaped.
    Html,
}

/// A template with its partials.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    text: String,
    partials: BTreeMap<String, String>,
}

impl Template {
    /// The default template, for a notification without a template.
    pub(crate) fn shipped(form: Form) -> Self {
        let text = match form {
            Form::Text => include_str!("default/message.txt.hbs"),
            Form::Html => include_str!("default/message.html.hbs"),
        };
        Self::inline(text)
    }

    /// A template from a setting. It has no partials.
    pub(crate) fn inline(text: &str) -> Self {
        Self { text: text.to_owned(), partials: BTreeMap::new() }
    }

    /// Reads a template, and the partials that it includes from its folder.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = partials::read(path)?;
        let partials = partials::collect(&text, path.parent().unwrap_or(path))?;
        Ok(Self { text, partials })
    }

    /// The template rendered with values. Control and bidi characters are replaced, wherever they come from: a file name
    /// or an error message must not control the terminal or mail program that shows the message.
    pub(crate) fn render(&self, form: Form, values: &Json) -> Result<String, Error> {
        let mut engine = Handlebars::new();
        engine.set_strict_mode(true);
        match form {
            Form::Text => engine.register_escape_fn(handlebars::no_escape),
            Form::Html => engine.register_escape_fn(escape_html),
        }
        helpers::register(&mut engine, form);
        for (name, text) in self.partials.iter().map(|(name, text)| (name.as_str(), text)).chain([(MAIN, &self.text)]) {
            engine.register_template_string(name, text).map_err(|error| syntax_error(name, &error))?;
        }
        engine.render(MAIN, values).map(|text| clean(&text)).map_err(|error| render_error(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::json;

    fn values() -> Json {
        json!({
            "pipeline": "orders", "description": null, "file": "orders.yaml", "when": "failure", "result": "failure",
            "seconds": 83.2, "host": "h1", "run": "01J", "at": "2026-11-24T03:04:05Z",
            "audit": { "size": 12, "root": "abc" }, "error": null, "stale": null, "summary": "1 success, 1 failure", "files": 3,
            "bytes": 4096,
            "stages": [
                { "name": "collect", "result": "success", "seconds": 1.0, "bytes": 4096, "detail": null },
                { "name": "deliver", "result": "failure", "seconds": 2.0, "bytes": null,
                  "detail": "no \u{1b}[31m<b>space\r\n is\u{202e} left\0" },
            ],
        })
    }

    fn text(template: &str) -> Result<String, Error> {
        Template { text: template.to_owned(), partials: BTreeMap::new() }.render(Form::Text, &values())
    }

    #[test]
    fn the_default_says_what_happened() {
        insta::assert_snapshot!("default_text", Template::shipped(Form::Text).render(Form::Text, &values()).unwrap());
        insta::assert_snapshot!("default_html", Template::shipped(Form::Html).render(Form::Html, &values()).unwrap());
    }

    #[test]
    fn a_misspelt_name_is_an_error() {
        assert!(matches!(text("{{pipelin}}"), Err(Error::Render { .. })));
        assert!(matches!(text("{{duration second}}"), Err(Error::Render { .. })));
        assert!(matches!(text("{{json second}}"), Err(Error::Render { .. })));
        assert!(matches!(text("{{durat seconds}}"), Err(Error::Render { .. })));
        assert!(matches!(text("a\n{{#if}"), Err(Error::Syntax { line: 2, .. })));
    }

    #[test]
    fn helpers() {
        for (template, expected) in [
            ("{{duration seconds}}", "1 min 23 s"),
            ("{{bytes bytes}}", "4.0 KiB"),
            ("[{{pad pipeline 8}}]", "[orders  ]"),
            ("{{time at \"%H:%M\" \"utc\"}}", "03:04"),
            ("{{json audit}}", "{\"size\":12,\"root\":\"abc\"}"),
            ("{{emoji when}}", "\u{274c}"),
            ("{{{json stages.1.detail}}}", "\"no \\u001b[31m<b>space\\r\\n is\u{fffd} left\\u0000\""),
        ] {
            assert_eq!(text(template).unwrap(), expected, "{template}");
        }
        for template in [
            "{{pad pipeline 100000000000}}",
            "{{time at \"%\"}}",
            "{{time run \"%H\"}}",
            "{{time at \"%H\" \"mars\"}}",
            "{{pad}}",
            "{{table run}}",
        ] {
            assert!(text(template).is_err(), "{template}");
        }
    }

    #[test]
    fn partials_come_from_beside_the_template_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let fill = || Template::read(&folder.path().join("main.hbs"))?.render(Form::Text, &values());
        write("main.hbs", "{{> head-1}}\r\n{{#if audit}}{{> foot}}{{/if}}");
        assert!(matches!(fill(), Err(Error::Read { .. })));
        write("head-1.hbs", "{{pipeline}} ");
        write("foot.hbs", "{{> head-1}}{{audit.size}}");
        assert_eq!(fill().unwrap(), "orders orders 12");
        write("foot.hbs", "{{> head-1}}\n{{audit.sum}}");
        assert_eq!(fill().unwrap_err().to_string(), "`foot.hbs`, line 2: there is no `audit.sum`");
        for (foot, head) in [
            ("{{> foot}}", ""),
            ("{{> head-1}}", "{{> foot}}"),
            ("{{> ../head}}", ""),
            ("{{> (json run)}}", ""),
            ("{{#*inline \"x\"}}{{> x}}{{/inline}}", ""),
        ] {
            write("foot.hbs", foot);
            write("head-1.hbs", head);
            assert!(matches!(fill(), Err(Error::Partial(_))), "{foot} {head}: {:?}", fill());
        }
    }

    #[test]
    fn no_value_changes_the_markup() {
        let hostile = "\r\n</td><script>alert(1)</script>&amp;\"'` \u{202e}\u{2066}\0\u{1b}[31m{{run}}";
        let mut poisoned = values();
        for key in ["pipeline", "file", "when", "result", "host", "run", "error", "summary"] {
            poisoned[key] = hostile.into();
        }
        for key in ["name", "result", "detail"] {
            poisoned["stages"][0][key] = hostile.into();
        }
        poisoned["audit"]["root"] = hostile.into();
        let html = Template::shipped(Form::Html).render(Form::Html, &poisoned).unwrap();
        let mut sound = values();
        sound["error"] = "x".into();
        let plain = Template::shipped(Form::Html).render(Form::Html, &sound).unwrap();
        // The same tags, in the same order.
        let tags = |html: &str| {
            html.split('<').skip(1).map(|tag| tag.split(['>', ' ']).next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(tags(&html), tags(&plain));
        assert!(html.contains("&lt;script&gt;") && html.contains("{{run}}"));
        for text in [html, Template::shipped(Form::Text).render(Form::Text, &poisoned).unwrap()] {
            assert!(!text.contains(['\r', '\0', '\u{1b}', '\u{202e}', '\u{2066}']), "{text:?}");
        }
    }
}

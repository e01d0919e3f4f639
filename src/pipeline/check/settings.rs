//! Checks settings and other literals against their schema: types of expressions, names of stores and channels, and forms
//! that a pattern cannot express.

use serde_json::Value as Json;

use super::checker::{Checker, Site};
use super::matrix_values::choices;
use super::schema::{DURATION, POSITIVE, RECIPIENT, SCHEMA, follow};
use super::sites::{first_expression, first_place, is_known_at_start};
use super::wording::short;
use crate::crypto::Recipient;
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::{Part, Template, Type, did_you_mean};
use crate::pipeline::read::{escape, field_of, hide_identities};
use crate::value::{Duration, shell_expansion};

impl Checker<'_> {
    /// Checks the settings of a kind against its schema.
    pub(super) fn settings(&mut self, pointer: &str, value: &Json, schema: &Json, site: Site<'_>) {
        // The schema reports settings that are no map.
        if value.is_object() {
            self.value(pointer, value, schema, &schema["definitions"], site);
        }
    }

    fn value(&mut self, pointer: &str, value: &Json, schema: &Json, definitions: &Json, site: Site<'_>) {
        let schema = follow(schema, definitions);
        match value {
            Json::String(text) if Template::is_in(text) => match schema["x-tl-type"].as_str() {
                Some(what @ ("store" | "channel")) => self.chosen(pointer, text, what, site),
                _ if schema["x-tl-form"] == "url" => self.url(pointer, text, schema, definitions, site),
                // An unknown key has no type. Errors inside its expression are still reported.
                _ if schema.is_null() => drop(self.typed(pointer, text, site)),
                _ => self.text(pointer, text, &Type::from_schema(schema, definitions), site),
            },
            Json::String(text) => match schema["x-tl-type"].as_str() {
                Some("store") => self.require_known("stores", "store", pointer, text),
                Some("channel") => self.require_known("channels", "channel", pointer, text),
                _ => self.literal(pointer, value, schema),
            },
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&format!("{pointer}/{index}"), item, &schema["items"], definitions, site);
                }
            }
            Json::Object(map) => {
                for (key, item) in map {
                    let field = match &schema["properties"][key] {
                        Json::Null if schema["additionalProperties"].is_object() => &schema["additionalProperties"],
                        field => field,
                    };
                    self.value(&format!("{pointer}/{}", escape(key)), item, field, definitions, site);
                }
            }
            _ => self.literal(pointer, value, schema),
        }
    }

    /// Checks a store or a channel that an expression chooses. The choices must be written in the file, so that it is known
    /// before a run what it can reach.
    fn chosen(&mut self, pointer: &str, text: &str, what: &str, site: Site<'_>) {
        if self.typed(pointer, text, site).is_none() {
            return;
        }
        let Some(choices) = choices(self.file, site.stage, pointer, text) else {
            let (offset, length) = first_expression(text).unwrap_or_default();
            let at = self.document.inside(pointer, offset, length);
            let found = Diagnostic::usage(codes::TL0307, format!("a {what} is named, not computed")).at(at);
            let help = format!(
                "write the name that a {what} has in `{what}s`, or let a `matrix` or the `enum` of an input list the names"
            );
            return self.report(found.help(help));
        };
        for (at, name) in choices {
            self.require_known(&format!("{what}s"), what, &at, &name);
        }
    }

    /// Checks a URL with expressions. Its host must be written in the file: a value from outside may choose a path, but not
    /// send the message to another host. A URL that is one whole secret is trusted, as its author is.
    fn url(&mut self, pointer: &str, text: &str, schema: &Json, definitions: &Json, site: Site<'_>) {
        let Some((given, template)) = self.typed(pointer, text, site) else { return };
        let is_whole = matches!(template.parts(), [Part::Expression(_)]);
        if is_whole && given == Type::Secret || is_host_written(text) {
            return self.text(pointer, text, &Type::from_schema(schema, definitions), site);
        }
        let message = "an expression cannot be the scheme, the host or the port of a URL";
        let help = "write them out, or let the whole URL be one secret";
        self.report_at(pointer, codes::TL0311, first_place(&template), message, Some(help));
    }

    /// If a kind asks for more settings than it requires by name, requires one of the others.
    pub(super) fn one_of_the_others(&mut self, pointer: &str, with: &Json, schema: &Json, kind: &str) {
        let (Some(with), Some(properties)) = (with.as_object(), schema["properties"].as_object()) else { return };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let others: Vec<&String> = properties.keys().filter(|key| !required.contains(&key.as_str())).collect();
        let is_asked = schema["minProperties"].as_u64().is_some_and(|least| least > required.len() as u64);
        // A misspelt key counts as given: it is reported as misspelt.
        let known = || properties.keys().map(String::as_str);
        let given: Vec<&str> = with
            .keys()
            .filter_map(
                |key| if properties.contains_key(key) { Some(key.as_str()) } else { did_you_mean(key, known()) },
            )
            .collect();
        if is_asked && !others.iter().any(|other| given.contains(&other.as_str())) {
            let names: Vec<String> = others.iter().map(|other| format!("`{other}`")).collect();
            let message = format!("`{kind}` needs {}", names.join(" or "));
            self.report(Diagnostic::usage(codes::TL0202, message).at(self.document.at_key(pointer)));
        }
    }

    /// Checks the literals outside of settings for what the schema cannot say.
    pub(super) fn literals_of_file(&mut self) {
        self.literals("", self.file, &SCHEMA);
    }

    fn literals(&mut self, pointer: &str, value: &Json, schema: &Json) {
        // `else` holds the schema of the field without expressions.
        let schema = schema.get("else").unwrap_or(schema);
        let schema = follow(schema, &SCHEMA["definitions"]);
        match value {
            Json::Object(map) => {
                for (key, item) in map {
                    let field = &schema["properties"][key];
                    let field = if field.is_null() { &schema["additionalProperties"] } else { field };
                    self.literals(&format!("{pointer}/{}", escape(key)), item, field);
                }
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.literals(&format!("{pointer}/{index}"), item, &schema["items"]);
                }
            }
            Json::String(text) if Template::is_in(text) && is_known_at_start(pointer) => {
                let scope = self.scopes.start();
                let site = Site { scope: &scope, stage: &Json::Null };
                self.text(pointer, text, &Type::from_schema(schema, &SCHEMA["definitions"]), site);
            }
            _ => self.literal(pointer, value, schema),
        }
    }

    fn literal(&mut self, pointer: &str, value: &Json, schema: &Json) {
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        match value {
            // JSON Schema accepts `3.0` as an integer. serde does not.
            Json::Number(number) if number.is_f64() && schema["type"] == "integer" => {
                let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0) else { return };
                let message = format!("`{}` must be a whole number, not `{number}`", field_of(pointer));
                let found = Diagnostic::usage(codes::TL0201, message).at(self.document.at_value(pointer));
                self.report(found.help(format!("write `{float:.0}`")));
            }
            Json::String(text) if [DURATION, POSITIVE].iter().any(|form| pattern.starts_with(form)) => {
                // The schema reports texts that do not have the form of a duration.
                let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
                let has_form = !digits.is_empty() && matches!(unit, "ms" | "s" | "m" | "h" | "d");
                if has_form && text.parse::<Duration>().is_err() {
                    let message = format!("{} is longer than ten years", short(value));
                    let found = Diagnostic::usage(codes::TL0205, message).at(self.document.at_value(pointer));
                    self.report(found.help("the longest is `3650d`"));
                }
            }
            Json::String(text) if schema["x-tl-type"] == "path" => {
                if let Some(part) = shell_expansion(text) {
                    let message = format!("{} has `{part}`, which no shell replaces here", short(value));
                    let found = Diagnostic::usage(codes::TL0205, message).at(self.document.at_value(pointer));
                    self.report(
                        found.help("write the whole path, or take a part of it from an input: `${{ inputs.NAME }}`"),
                    );
                }
            }
            Json::String(text) if pattern.starts_with(RECIPIENT) => {
                if let Err(error) = text.parse::<Recipient>() {
                    let at = self.document.at_value(pointer);
                    self.report(if hide_identities(text) == *text {
                        Diagnostic::usage(codes::TL0205, format!("{} is not a recipient", short(value)))
                            .at(at)
                            .cause(&error)
                            .help("`tl key show IDENTITY-FILE` prints the recipient of an identity")
                    } else {
                        Diagnostic::usage(codes::TL0205, error.to_string())
                            .at(at)
                            .help("whoever can read this file can now open what is sealed for it: make a new identity")
                    });
                }
            }
            _ => {}
        }
    }
}

/// Whether the host of a URL ends before its first expression. A host must begin right after `://`: URL parsers skip any
/// number of further slashes, so an expression after them could still be the host.
fn is_host_written(text: &str) -> bool {
    let before = text.split("${{").next().unwrap_or_default();
    let host = before.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') && host.contains(['/', '?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_written_before_the_first_expression() {
        for text in ["https://h/${{ x }}", "https://h:1/a${{ x }}", "https://[::1]/${{ x }}", "https://h?q=${{ x }}"] {
            assert!(is_host_written(text), "{text}");
        }
        for text in [
            "${{ x }}",
            "${{ x }}://h/",
            "https://${{ x }}/",
            "https://h${{ x }}/",
            "https://h:${{ x }}/",
            "https:///${{ x }}/",
            "https://\\/${{ x }}/",
            "https:${{ x }}",
            "https:/h/${{ x }}",
            "https://\t/${{ x }}",
        ] {
            assert!(!is_host_written(text), "{text}");
        }
    }
}

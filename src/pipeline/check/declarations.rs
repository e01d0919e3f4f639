//! Checks what stands outside of stages: inputs, secrets, schedules and notifications.

use serde_json::Value as Json;

use super::checker::Checker;
use super::secret::secret_code;
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::Template;
use crate::pipeline::model::fits;
use crate::pipeline::read::escape;
use crate::value::{Kind, MASK, Schedule, ScheduleErrorKind, Unfit};
use crate::vault;

impl Checker<'_> {
    pub(super) fn input(&mut self, name: &str, input: &Json) {
        let pointer = format!("/inputs/{}", escape(name));
        let Some(kind) = input["type"].as_str() else { return };
        let is_literal = |value: &Json| !value.as_str().is_some_and(Template::is_in);
        let choices: Vec<&Json> = input["enum"].as_array().into_iter().flatten().collect();
        for (index, choice) in choices.iter().enumerate().filter(|(_, choice)| is_literal(choice)) {
            if !fits(kind, choice) {
                let at = self.document.at_value(&format!("{pointer}/enum/{index}"));
                self.report(Diagnostic::usage(codes::TL0503, format!("`{choice}` is not of type {kind}")).at(at));
            }
        }
        if let Some(default) = input.get("default").filter(|default| is_literal(default)) {
            let at = self.document.at_value(&format!("{pointer}/default"));
            if !fits(kind, default) {
                let found =
                    Diagnostic::usage(codes::TL0503, format!("the default `{default}` is not of type {kind}")).at(at);
                self.report(match (default, kind) {
                    (Json::Null, _) => found.help("leave it out: then the input must be given"),
                    (Json::String(text), "int" | "number" | "bool")
                        if serde_json::from_str(text).is_ok_and(|literal| fits(kind, &literal)) =>
                    {
                        found.help("leave out the quotes")
                    }
                    (Json::Number(_) | Json::Bool(_), "string") => found.help("put it in quotes"),
                    _ => found,
                });
            } else if !choices.is_empty() && !choices.contains(&default) {
                let known: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
                let message = format!("the default `{default}` is not one of `enum`");
                let found = Diagnostic::usage(codes::TL0503, message).at(at);
                self.report(found.help(format!("it may be {}", known.join(", "))));
            }
        }
    }

    /// Checks what a source can tell about its settings without reading the secret.
    pub(super) fn secret(&mut self, name: &str, secret: &Json) {
        let kind = secret["from"].as_str().and_then(|from| Kind::find(vault::SOURCES, from));
        let Some((kind, mut settings)) = kind.zip(secret.as_object().cloned()) else { return };
        settings.shift_remove("from");
        // The schema reports settings that do not fit.
        let Ok(source) = (kind.build)(Json::from(settings).into()) else { return };
        for Unfit { setting, error } in source.check() {
            let at = self.document.at_key(&format!("/secrets/{}/{setting}", escape(name)));
            let message = format!("`{setting}` of the secret `{name}` cannot be used");
            let mut found = Diagnostic::usage(secret_code(&error), message).at(at).cause(&error);
            // What stands there may be the secret itself, by mistake: the line is shown without it.
            if let Some(text) = secret[&setting].as_str().filter(|text| !text.is_empty()) {
                found.mask(&|shown| shown.replace(text, MASK));
            }
            self.report(match error.help() {
                Some(help) => found.help(help),
                None => found,
            });
        }
    }

    pub(super) fn schedule(&mut self) {
        let texts = match &self.file["schedule"] {
            Json::Array(items) => items.iter().enumerate().map(|(i, item)| (format!("/schedule/{i}"), item)).collect(),
            one => vec![("/schedule".to_owned(), one)],
        };
        for (pointer, text) in texts {
            let Some(text) = text.as_str().filter(|text| !Template::is_in(text)) else { continue };
            if let Err(error) = text.parse::<Schedule>() {
                let at = self.document.inside(&pointer, error.offset, error.length);
                let code = match error.kind {
                    ScheduleErrorKind::Malformed => codes::TL0312,
                    ScheduleErrorKind::Unsupported => codes::TL0313,
                    ScheduleErrorKind::Never => codes::TL0314,
                    ScheduleErrorKind::UnknownZone => codes::TL0315,
                };
                self.report(Diagnostic::usage(code, error.message).at(at).help(error.help));
            }
        }
    }

    pub(super) fn notifications(&mut self) {
        let expects = self.file["expect"].get("success-every").is_some() || self.scopes.is_misspelt("expect");
        for (index, notification) in self.file["notify"].as_array().into_iter().flatten().enumerate() {
            let occasions = notification["when"].as_array().into_iter().flatten();
            for (place, _) in occasions.enumerate().filter(|(_, when)| *when == "stale" && !expects) {
                let at = self.document.at_value(&format!("/notify/{index}/when/{place}"));
                let found = Diagnostic::usage(
                    codes::TL0414,
                    "`stale` can never happen: nothing says how often a success is due",
                );
                self.report(found.at(at).help("say it: `expect: { success-every: 1d }`"));
            }
            for (place, channel) in notification["to"].as_array().into_iter().flatten().enumerate() {
                if let Some(name) = channel.as_str() {
                    self.require_known("channels", "channel", &format!("/notify/{index}/to/{place}"), name);
                }
            }
        }
    }
}

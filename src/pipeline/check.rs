//! The static checks: what a schema cannot say.

use serde_json::Value as Json;

use super::document::Document;
use super::events::escape;
use super::inputs;
use super::load::MOST_FINDINGS;
use super::scope::{Scopes, entries};
use super::secret::secret_code;
use super::stray::first_expression;
use crate::diagnostic::{Code, Diagnostic, codes};
use crate::expression::{Expression, Mistake, Scope, Template, Type, article, check, check_template, did_you_mean};
use crate::value::{Kind, MASK, Schedule, ScheduleErrorKind, Unfit};
use crate::vault;
use crate::{channels, stages, storage};

pub(super) struct Checker<'a> {
    pub(super) document: &'a Document,
    pub(super) file: &'a Json,
    pub(super) scopes: Scopes<'a>,
    found: Vec<Diagnostic>,
}

/// Where an expression stands: what it may use, and the stage whose it is.
#[derive(Clone, Copy)]
pub(super) struct Site<'s> {
    pub(super) scope: &'s Scope,
    pub(super) stage: &'s Json,
}

impl<'a> Checker<'a> {
    pub(super) fn new(document: &'a Document) -> Self {
        Self::over(document, document.value())
    }

    /// For a value of the shape of the document's.
    pub(super) fn over(document: &'a Document, file: &'a Json) -> Self {
        Self { document, file, scopes: Scopes::new(file), found: Vec::new() }
    }

    /// What the schema cannot say of literals.
    pub(super) fn literals_only(mut self) -> Vec<Diagnostic> {
        self.literals_of_file();
        self.found
    }

    pub(super) fn run(mut self) -> Vec<Diagnostic> {
        for (name, input) in entries(self.file, "inputs") {
            self.input(name, input);
        }
        for (name, secret) in entries(self.file, "secrets") {
            self.secret(name, secret);
        }
        for (section, schema_of) in [
            ("stores", storage::KINDS.iter().map(|k| (k.name, (k.schema)())).collect::<Vec<_>>()),
            ("channels", channels::KINDS.iter().map(|k| (k.name, (k.schema)())).collect()),
        ] {
            let scope = self.scopes.places();
            for (name, place) in entries(self.file, section) {
                let Some((_, schema)) = schema_of.iter().find(|(kind, _)| place["uses"] == *kind) else { continue };
                let site = Site { scope: &scope, stage: &Json::Null };
                self.settings(&format!("/{section}/{}/with", escape(name)), &place["with"], schema, site);
            }
        }
        for (name, channel) in entries(self.file, "channels") {
            self.channel(name, channel);
        }
        for section in ["stages", "finally"] {
            for (name, stage) in entries(self.file, section) {
                // Each looks for a near name among all.
                if self.found.len() > MOST_FINDINGS {
                    break;
                }
                self.stage(section, name, stage);
            }
        }
        self.cycles("stages");
        self.cycles("finally");
        self.notifications();
        self.policy();
        self.schedule();
        self.stray_expressions("", self.file);
        self.literals_of_file();
        self.found
    }

    pub(super) fn find(&mut self, diagnostic: Diagnostic) {
        // One more than is told, which says that there are more.
        if self.found.len() <= MOST_FINDINGS {
            self.found.push(diagnostic);
        }
    }

    pub(super) fn mistake(&mut self, pointer: &str, mistake: Mistake) {
        let place = self.document.inside(pointer, mistake.offset, mistake.length);
        let diagnostic = Diagnostic::usage(mistake.code, mistake.message).at(place);
        let diagnostic = match self.document.alias_line(pointer) {
            Some(line) => diagnostic.label(format!("as line {line} copies it")),
            None => diagnostic,
        };
        self.find(match mistake.help {
            Some(help) if help.starts_with("did you mean") && diagnostic.label.is_none() => diagnostic.label(help),
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    fn input(&mut self, name: &str, input: &Json) {
        let pointer = format!("/inputs/{}", escape(name));
        let Some(kind) = input["type"].as_str() else { return };
        let is_literal = |value: &Json| !value.as_str().is_some_and(Template::is_in);
        let choices: Vec<&Json> = input["enum"].as_array().into_iter().flatten().collect();
        for (index, choice) in choices.iter().enumerate().filter(|(_, choice)| is_literal(choice)) {
            if !inputs::fits(kind, choice) {
                let at = self.document.at_value(&format!("{pointer}/enum/{index}"));
                self.find(Diagnostic::usage(codes::TL0503, format!("`{choice}` is not of type {kind}")).at(at));
            }
        }
        if let Some(default) = input.get("default").filter(|default| is_literal(default)) {
            let at = self.document.at_value(&format!("{pointer}/default"));
            if !inputs::fits(kind, default) {
                let found =
                    Diagnostic::usage(codes::TL0503, format!("the default `{default}` is not of type {kind}")).at(at);
                self.find(match (default, kind) {
                    (Json::Null, _) => found.help("leave it out: then the input must be given"),
                    (Json::String(text), "int" | "number" | "bool")
                        if serde_json::from_str(text).is_ok_and(|literal| inputs::fits(kind, &literal)) =>
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
                self.find(found.help(format!("it may be {}", known.join(", "))));
            }
        }
    }

    /// What a source of a secret can tell of its settings before it is read.
    fn secret(&mut self, name: &str, secret: &Json) {
        let kind = secret["from"].as_str().and_then(|from| Kind::find(vault::SOURCES, from));
        let Some((kind, mut settings)) = kind.zip(secret.as_object().cloned()) else { return };
        settings.shift_remove("from");
        // What does not fit the schema is told by it.
        let Ok(source) = (kind.build)(settings.into()) else { return };
        for Unfit { setting, error } in source.check() {
            let at = self.document.at_key(&format!("/secrets/{}/{setting}", escape(name)));
            let message = format!("`{setting}` of the secret `{name}` cannot be used");
            let mut found = Diagnostic::usage(secret_code(&error), message).at(at).cause(&error);
            // What stands there may be the secret itself, by mistake: the line is shown without it.
            if let Some(text) = secret[&setting].as_str().filter(|text| !text.is_empty()) {
                found.mask(&|shown| shown.replace(text, MASK));
            }
            self.find(match error.help() {
                Some(help) => found.help(help),
                None => found,
            });
        }
    }

    fn stage(&mut self, section: &str, name: &str, stage: &Json) {
        let pointer = format!("/{section}/{}", escape(name));
        let is_finally = section == "finally";
        if is_finally && self.file["stages"].get(name).is_some() {
            let message = format!("a stage `{name}` stands in `stages` already");
            self.find(
                Diagnostic::usage(codes::TL0405, message)
                    .at(self.document.at_key(&pointer))
                    .help("give one of them another name"),
            );
        }
        self.needs(section, name, stage);
        self.matrix(&pointer, stage, is_finally);
        let environment = self.scopes.environment(stage, is_finally);
        let scope = Scopes::stage(&environment, stage);
        let site = Site { scope: &scope, stage };
        if let Some(condition) = stage["if"].as_str() {
            let scope = scope.clone().with_status_functions();
            // It is judged once, before there are instances.
            let scope = match stage["strategy"].get("matrix") {
                Some(_) => scope.without("matrix", "an `if` decides of all instances; leave some out with `exclude`"),
                None => scope,
            };
            self.condition(&format!("{pointer}/if"), condition, Site { scope: &scope, stage });
        }
        for (variable, value) in entries(stage, "env") {
            let at = format!("{pointer}/env/{}", escape(variable));
            self.variable(&at, variable, value, Site { scope: &environment, stage });
        }
        if let Some(kind) = stage["uses"].as_str().and_then(stages::find) {
            let with = format!("{pointer}/with");
            self.settings(&with, &stage["with"], (kind.schema)(), site);
            self.one_of_the_others(&with, &stage["with"], (kind.schema)(), kind.name);
            self.literals_of_kind(kind.name, &with, &stage["with"]);
        }
        self.program(&pointer, stage, site);
    }

    fn condition(&mut self, pointer: &str, text: &str, site: Site<'_>) {
        if let Some((offset, length)) = first_expression(text) {
            let at = self.document.inside(pointer, offset, length);
            self.find(
                Diagnostic::usage(codes::TL0301, "an `if` is an expression already")
                    .at(at)
                    .help("leave out `${{` and `}}`"),
            );
            return;
        }
        match Expression::parse(text, 0) {
            Err(mistake) => self.mistake(pointer, mistake),
            Ok(expression) if self.scopes.is_blind(&expression, site.stage) => {}
            Ok(expression) => match check(&expression, site.scope) {
                Ok(Type::Bool | Type::Any) => {}
                Ok(other) => {
                    let message = format!("an `if` must be true or false; this is {}", article(&other));
                    let place = expression.place();
                    self.mistake(pointer, Mistake::new(codes::TL0303, place, message));
                }
                Err(mistake) => self.mistake(pointer, mistake),
            },
        }
    }

    /// The type of a text with expressions. `None` where something in it is wrong, which is reported here, or where it
    /// uses something that is wrong, which is reported there.
    pub(super) fn typed(&mut self, pointer: &str, text: &str, site: Site<'_>) -> Option<(Type, Template)> {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(mistake) => {
                self.mistake(pointer, mistake);
                return None;
            }
        };
        let mut sound = true;
        for expression in template.expressions() {
            if self.scopes.is_blind(expression, site.stage) {
                sound = false;
            } else if let Err(mistake) = check(expression, site.scope) {
                self.mistake(pointer, mistake);
                sound = false;
            }
        }
        if !sound {
            return None;
        }
        match check_template(&template, site.scope) {
            Ok(kind) => Some((kind, template)),
            Err(mistake) => {
                self.mistake(pointer, mistake);
                None
            }
        }
    }

    /// A text with expressions against the type of its field.
    pub(super) fn text(&mut self, pointer: &str, text: &str, wanted: &Type, site: Site<'_>) {
        let Some((given, template)) = self.typed(pointer, text, site) else { return };
        if given.fits(wanted) {
            return;
        }
        let field = field_of(pointer);
        if given == Type::Secret {
            let place = secret_in(&template, site.scope);
            let message = format!("a secret must not flow into `{field}`");
            let help = "secrets may flow into `env` and into settings that are marked secret, such as `identity`";
            self.flow(pointer, codes::TL0304, place, message, Some(help));
        } else {
            let message = format!("`{field}` wants {}; this is {}", article(wanted), article(&given));
            let unless_null = template.expressions().next().map(|expression| expression.unless_null("'…'"));
            let help = match (&given, wanted) {
                (Type::Nullable(_), _) => unless_null.as_deref(),
                (Type::Int | Type::Double | Type::Bool, Type::String | Type::Secret) => Some("wrap it: `string(…)`"),
                (Type::String, Type::List(_)) => Some("write a list: `[\"${{ … }}\"]`"),
                _ => None,
            };
            self.flow(pointer, codes::TL0303, first_place(&template), message, help);
        }
    }

    /// Reports a value that must not flow where it does.
    pub(super) fn flow(
        &mut self,
        pointer: &str,
        code: Code,
        place: (usize, usize),
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        let help = help.map(str::to_owned);
        self.mistake(pointer, Mistake { help, ..Mistake::new(code, place, message) });
    }

    /// The name of a store or a channel.
    pub(super) fn known(&mut self, section: &str, what: &str, pointer: &str, name: &str) {
        // Where the section itself is wrong, that is reported, and not each use of it.
        let is_wrong = self.file.get(section).map_or(self.scopes.is_misspelt(section), |map| !map.is_object());
        if self.file[section].get(name).is_some() || is_wrong || Template::is_in(name) {
            return;
        }
        let message = format!("there is no {what} `{}`", name.escape_debug());
        let diagnostic = Diagnostic::usage(codes::TL0403, message).at(self.document.at_value(pointer));
        let known: Vec<&str> = entries(self.file, section).map(|(name, _)| name.as_str()).collect();
        self.find(match did_you_mean(name, known.iter().copied()) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None if known.is_empty() => diagnostic.help(format!("declare it under `{section}`")),
            None => diagnostic.help(format!("`{section}` has {}", listed(&known))),
        });
    }

    fn schedule(&mut self) {
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
                self.find(Diagnostic::usage(code, error.message).at(at).help(error.help));
            }
        }
    }

    fn notifications(&mut self) {
        let expects = self.file.get("expect").is_some() || self.scopes.is_misspelt("expect");
        for (index, notification) in self.file["notify"].as_array().into_iter().flatten().enumerate() {
            let occasions = notification["when"].as_array().into_iter().flatten();
            for (place, _) in occasions.enumerate().filter(|(_, when)| *when == "stale" && !expects) {
                let at = self.document.at_value(&format!("/notify/{index}/when/{place}"));
                let found = Diagnostic::usage(
                    codes::TL0414,
                    "`stale` can never happen: nothing says how often a success is due",
                );
                self.find(found.at(at).help("say it: `expect: { success-every: 1d }`"));
            }
            for (place, channel) in notification["to"].as_array().into_iter().flatten().enumerate() {
                if let Some(name) = channel.as_str() {
                    self.known("channels", "channel", &format!("/notify/{index}/to/{place}"), name);
                }
            }
        }
    }
}

/// The key that a value stands behind, or the list that it is an item of.
pub(super) fn field_of(pointer: &str) -> String {
    let field = pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
    field.replace("~1", "/").replace("~0", "~")
}

pub(super) fn secret_in(template: &Template, scope: &Scope) -> (usize, usize) {
    let secret = template.expressions().find(|expression| check(expression, scope) == Ok(Type::Secret));
    secret.map_or_else(|| first_place(template), Expression::place)
}

pub(super) fn first_place(template: &Template) -> (usize, usize) {
    template.expressions().next().map_or((0, 1), Expression::place)
}

/// Names in a help line: of ten thousand stages nobody reads all.
const MOST_LISTED: usize = 40;

pub(super) fn listed<T: AsRef<str>>(words: &[T]) -> String {
    let shown = words.iter().take(MOST_LISTED).map(|word| format!("`{}`", word.as_ref().escape_debug()));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match words.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

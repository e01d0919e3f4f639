//! The static checks: what a schema cannot say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value as Json;

use super::document::Document;
use super::events::escape;
use super::findings::findings;
use super::inputs;
use super::model::Pipeline;
use super::scope::{Scopes, entries, need_pointer, needs_of};
use crate::diagnostic::Diagnostic;
use crate::expression::{Expression, Mistake, Scope, Template, Type, check, check_template, did_you_mean};
use crate::{channels, stages, storage};

/// Reads a file and proves all that can be proven without running it. Fails with everything that is wrong, by place.
pub fn load(path: &Path) -> Result<(Document, Pipeline), Vec<Diagnostic>> {
    judge(Document::read(path)?)
}

fn judge(document: Document) -> Result<(Document, Pipeline), Vec<Diagnostic>> {
    version(&document).map_err(|found| vec![found])?;
    let mut found = findings(&document);
    found.extend(Checker::new(&document).run());
    found.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    found.dedup_by(|a, b| a.place == b.place && a.code == b.code && a.message == b.message);
    if !found.is_empty() {
        return Err(found);
    }
    match serde_json::from_value(document.value().clone()) {
        Ok(pipeline) => Ok((document, pipeline)),
        // Schema and structs are one; a difference between them is a mistake in tl, and is told as one.
        Err(error) => Err(vec![
            Diagnostic::usage("TL0902", "the schema accepts this file and the program does not: please report it")
                .cause(&error),
        ]),
    }
}

/// The version is read before the rest: of a later one nothing else is known.
fn version(document: &Document) -> Result<(), Diagnostic> {
    let file = document.value();
    if !file.is_object() {
        let message = "a pipeline is a map of keys and values";
        return Err(Diagnostic::usage("TL0201", message).at(document.at_value("")).help("start with `version: 1`"));
    }
    match file.get("version").map(Json::as_u64) {
        Some(Some(1)) => Ok(()),
        Some(Some(version)) if version > 1 => {
            Err(Diagnostic::usage("TL0102", format!("this file has version {version}"))
                .at(document.at_value("/version"))
                .help(format!("tl {} knows version 1: install a later release", env!("CARGO_PKG_VERSION"))))
        }
        Some(_) => Err(Diagnostic::usage("TL0101", "`version` must be the number 1")
            .at(document.at_value("/version"))
            .help("write `version: 1`")),
        None => Err(Diagnostic::usage("TL0101", "`version` is missing")
            .at(document.at_value(""))
            .help("write `version: 1` as the first line")),
    }
}

struct Checker<'a> {
    document: &'a Document,
    file: &'a Json,
    scopes: Scopes,
    found: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    fn new(document: &'a Document) -> Self {
        let file = document.value();
        Self { document, file, scopes: Scopes::new(file), found: Vec::new() }
    }

    fn run(mut self) -> Vec<Diagnostic> {
        for (name, input) in entries(self.file, "inputs") {
            self.input(name, input);
        }
        for (section, schema_of) in [
            ("stores", storage::KINDS.iter().map(|k| (k.name, k.schema)).collect::<Vec<_>>()),
            ("channels", channels::KINDS.iter().map(|k| (k.name, k.schema)).collect()),
        ] {
            let scope = self.scopes.places();
            for (name, place) in entries(self.file, section) {
                let Some((_, schema)) = schema_of.iter().find(|(kind, _)| place["uses"] == *kind) else { continue };
                self.settings(&format!("/{section}/{}/with", escape(name)), &place["with"], &schema(), &scope);
            }
        }
        for section in ["stages", "finally"] {
            for (name, stage) in entries(self.file, section) {
                self.stage(section, name, stage);
            }
        }
        self.cycles("stages");
        self.cycles("finally");
        self.notifications();
        self.stray_expressions("", self.file);
        self.found
    }

    fn find(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    fn mistake(&mut self, pointer: &str, mistake: Mistake) {
        let place = self.document.inside(pointer, mistake.offset, mistake.length);
        let diagnostic = Diagnostic::usage(mistake.code, mistake.message).at(place);
        self.find(match mistake.help {
            Some(help) if !help.is_empty() => diagnostic.help(help),
            _ => diagnostic,
        });
    }

    fn input(&mut self, name: &str, input: &Json) {
        let pointer = format!("/inputs/{}", escape(name));
        let Some(kind) = input["type"].as_str() else { return };
        let choices: Vec<&Json> = input["enum"].as_array().into_iter().flatten().collect();
        for (index, choice) in choices.iter().enumerate() {
            if !inputs::fits(kind, choice) {
                let message = format!("{choice} is not of type {kind}");
                self.find(
                    Diagnostic::usage("TL0503", message).at(self.document.at_value(&format!("{pointer}/enum/{index}"))),
                );
            }
        }
        if let Some(default) = input.get("default") {
            let at = self.document.at_value(&format!("{pointer}/default"));
            if !inputs::fits(kind, default) {
                self.find(Diagnostic::usage("TL0503", format!("the default {default} is not of type {kind}")).at(at));
            } else if !choices.is_empty() && !choices.contains(&default) {
                self.find(Diagnostic::usage("TL0503", format!("the default {default} is not one of `enum`")).at(at));
            }
        }
    }

    fn stage(&mut self, section: &str, name: &str, stage: &Json) {
        let pointer = format!("/{section}/{}", escape(name));
        let is_finally = section == "finally";
        if is_finally && self.file["stages"].get(name).is_some() {
            let message = format!("a stage `{name}` stands in `stages` already");
            self.find(
                Diagnostic::usage("TL0405", message)
                    .at(self.document.at_key(&pointer))
                    .help("give one of them another name"),
            );
        }
        self.needs(section, name, stage);
        let scope = self.scopes.stage(stage, is_finally);
        if let Some(condition) = stage["if"].as_str() {
            self.condition(&format!("{pointer}/if"), condition, &scope.clone().with_status_functions());
        }
        let environment = self.scopes.environment(stage, is_finally);
        for (variable, value) in entries(stage, "env") {
            self.variable(&format!("{pointer}/env/{}", escape(variable)), variable, value, &environment);
        }
        if let Some(kind) = stage["uses"].as_str().and_then(stages::find) {
            let with = format!("{pointer}/with");
            self.settings(&with, &stage["with"], &(kind.schema)(), &scope);
            if kind.name == "archive" {
                self.excludes(&with, &stage["with"]["exclude"]);
            }
        }
        self.program(&pointer, stage, &scope);
    }

    fn needs(&mut self, section: &str, name: &str, stage: &Json) {
        let mut seen = BTreeSet::new();
        for need in needs_of(stage) {
            let at = self.document.at_value(&need_pointer(section, name, stage, need));
            if !seen.insert(need) {
                self.find(Diagnostic::usage("TL0406", format!("`{need}` stands in `needs` twice")).at(at));
            } else if need == name {
                self.find(Diagnostic::usage("TL0402", format!("`{name}` needs itself")).at(at));
            } else if self.file[section].get(need).is_none() {
                let here = entries(self.file, section).map(|(name, _)| name.as_str());
                let near = did_you_mean(need, here).map(|near| format!("did you mean `{near}`?"));
                let diagnostic = if self.scopes.has_stage(need) {
                    let help = if section == "finally" {
                        "stages of `finally` run after all others anyway; read `stages.NAME.result`"
                    } else {
                        "no stage can wait for `finally`, which runs last"
                    };
                    Diagnostic::usage("TL0404", format!("`{need}` is not a stage of `{section}`")).help(help)
                } else {
                    Diagnostic::usage("TL0401", format!("there is no stage `{need}`"))
                };
                let diagnostic = diagnostic.at(at);
                self.find(match near {
                    Some(near) => diagnostic.label(near),
                    None => diagnostic,
                });
            }
        }
    }

    /// Reports each circle of `needs` once, at the need that closes it.
    fn cycles(&mut self, section: &str) {
        let graph: BTreeMap<&str, Vec<&str>> =
            entries(self.file, section).map(|(name, stage)| (name.as_str(), needs_of(stage).collect())).collect();
        let mut done = BTreeSet::new();
        for start in graph.keys() {
            // Depth first, without recursion: a chain of needs may be as long as the file.
            let mut path: Vec<(&str, usize)> = vec![(start, 0)];
            let mut on_path = BTreeSet::from([*start]);
            while let Some((stage, next)) = path.last_mut() {
                let stage = *stage;
                let need =
                    if done.contains(stage) { None } else { graph.get(stage).and_then(|needs| needs.get(*next)) };
                *next += 1;
                match need.copied() {
                    Some(need) if need == stage || !graph.contains_key(need) => {}
                    Some(need) if on_path.contains(need) => {
                        let from = path.iter().position(|(on, _)| *on == need).unwrap_or(0);
                        let mut circle: Vec<&str> = path[from..].iter().map(|(on, _)| *on).collect();
                        circle.push(need);
                        let at =
                            self.document.at_value(&need_pointer(section, stage, &self.file[section][stage], need));
                        let message = format!("these stages wait for each other: {}", circle.join(" → "));
                        self.find(Diagnostic::usage("TL0402", message).at(at).help("remove one of these needs"));
                    }
                    Some(need) => {
                        path.push((need, 0));
                        on_path.insert(need);
                    }
                    None => {
                        done.insert(stage);
                        on_path.remove(stage);
                        path.pop();
                    }
                }
            }
        }
    }

    fn condition(&mut self, pointer: &str, text: &str, scope: &Scope) {
        if Template::is_in(text) {
            let at = self.document.at_value(pointer);
            self.find(
                Diagnostic::usage("TL0301", "an `if` is an expression already").at(at).help("leave out `${{` and `}}`"),
            );
            return;
        }
        match Expression::parse(text, 0).and_then(|expression| Ok((check(&expression, scope)?, expression))) {
            Ok((Type::Bool | Type::Any, _)) => {}
            Ok((other, _)) => {
                let message = format!("an `if` must be true or false; this is {other}");
                self.find(Diagnostic::usage("TL0303", message).at(self.document.at_value(pointer)));
            }
            Err(mistake) => self.mistake(pointer, mistake),
        }
    }

    fn variable(&mut self, pointer: &str, name: &str, value: &Json, scope: &Scope) {
        let loader = ["LD_", "DYLD_", "TL_"].iter().any(|prefix| name.starts_with(prefix));
        if loader || ["BASH_ENV", "ENV", "IFS", "SHELLOPTS", "TL"].contains(&name) {
            let message = format!("`{name}` cannot be set: it changes what a program or a shell is");
            self.find(Diagnostic::usage("TL0210", message).at(self.document.at_key(pointer)));
        }
        if let Some(text) = value.as_str() {
            self.text(pointer, text, &Type::Secret, scope);
        }
    }

    /// The settings of a kind against its schema: types of expressions, and names of stores and channels.
    fn settings(&mut self, pointer: &str, value: &Json, schema: &Json, scope: &Scope) {
        self.value(pointer, value, schema, &schema["definitions"], scope);
    }

    fn value(&mut self, pointer: &str, value: &Json, schema: &Json, definitions: &Json, scope: &Scope) {
        if let Some(target) = schema["$ref"].as_str() {
            let name = target.rsplit('/').next().unwrap_or_default();
            return self.value(pointer, value, &definitions[name], definitions, scope);
        }
        match value {
            Json::String(text) if Template::is_in(text) => {
                if let Some(what @ ("store" | "channel")) = schema["x-tl-type"].as_str() {
                    let message = format!("a {what} is named, not computed");
                    let at = self.document.at_value(pointer);
                    self.find(Diagnostic::usage("TL0307", message).at(at).help(format!("write the name of a {what}")));
                    return;
                }
                self.text(pointer, text, &Type::from_schema(schema, definitions), scope);
            }
            Json::String(text) => match schema["x-tl-type"].as_str() {
                Some("store") => self.known("stores", "store", pointer, text),
                Some("channel") => self.known("channels", "channel", pointer, text),
                _ => {}
            },
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&format!("{pointer}/{index}"), item, &schema["items"], definitions, scope);
                }
            }
            Json::Object(map) => {
                for (key, item) in map {
                    let field = &schema["properties"][key];
                    self.value(&format!("{pointer}/{}", escape(key)), item, field, definitions, scope);
                }
            }
            _ => {}
        }
    }

    /// A text with expressions against the type of its field.
    fn text(&mut self, pointer: &str, text: &str, wanted: &Type, scope: &Scope) {
        let checked = Template::parse(text).and_then(|template| Ok((check_template(&template, scope)?, template)));
        let (given, template) = match checked {
            Ok(checked) => checked,
            Err(mistake) => return self.mistake(pointer, mistake),
        };
        // A number or a truth value has one spelling, so the environment takes it.
        let spelled = *wanted == Type::Secret && given.is_scalar() && pointer.contains("/env/");
        if given.fits(wanted) || spelled {
            return;
        }
        let field = pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
        let span = template.expressions().next().map_or((0, 1), Expression::place);
        let place = self.document.inside(pointer, span.0, span.1);
        self.find(if given == Type::Secret {
            Diagnostic::usage("TL0304", format!("a secret must not flow into `{field}`"))
                .at(place)
                .help("secrets may flow into `env` and into fields that are marked secret")
        } else {
            let diagnostic =
                Diagnostic::usage("TL0303", format!("`{field}` wants {wanted}; this is {given}")).at(place);
            match (&given, wanted) {
                (Type::Int | Type::Double | Type::Bool, Type::String) => diagnostic.help("wrap it: `string(…)`"),
                (Type::Nullable(_), _) => diagnostic.help("say what to use for null: `x == null ? '…' : x`"),
                _ => diagnostic,
            }
        });
    }

    fn known(&mut self, section: &str, what: &str, pointer: &str, name: &str) {
        if self.file[section].get(name).is_some() {
            return;
        }
        let diagnostic =
            Diagnostic::usage("TL0403", format!("there is no {what} `{name}`")).at(self.document.at_value(pointer));
        let known: Vec<&str> = entries(self.file, section).map(|(name, _)| name.as_str()).collect();
        self.find(match did_you_mean(name, known.iter().copied()) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None if known.is_empty() => diagnostic.help(format!("declare it under `{section}`")),
            None => diagnostic.help(format!("`{section}` has {}", known.join(", "))),
        });
    }

    fn excludes(&mut self, with: &str, patterns: &Json) {
        let literal = |pattern: &&Json| pattern.as_str().is_some_and(|text| !Template::is_in(text));
        for (index, pattern) in patterns.as_array().into_iter().flatten().enumerate().filter(|(_, p)| literal(p)) {
            let pattern = pattern.as_str().unwrap_or_default().to_owned();
            if let Err((_, reason)) = stages::archive::validate_excludes(&[pattern]) {
                let at = self.document.at_value(&format!("{with}/exclude/{index}"));
                self.find(Diagnostic::usage("TL0205", format!("this pattern {reason}")).at(at));
            }
        }
    }

    /// `run`: a list without a shell, or a text with one.
    fn program(&mut self, pointer: &str, stage: &Json, scope: &Scope) {
        let run = format!("{pointer}/run");
        match &stage["run"] {
            Json::String(script) => {
                if stage["shell"].is_null() {
                    self.find(
                        Diagnostic::usage("TL0211", "a script needs its `shell`")
                            .at(self.document.at_value(&run))
                            .help("add `shell: sh`, or write a list without a shell: `run: [program, argument]`"),
                    );
                }
                if let Some(at) = script.find("${{") {
                    let offset = script[..at].chars().count();
                    let length = script[at..].find("}}").map_or(3, |end| script[at..at + end].chars().count() + 2);
                    let expression = script[at + 3..].split("}}").next().unwrap_or_default().trim();
                    self.find(
                        Diagnostic::usage("TL0305", "an expression in a script would become part of the program")
                            .at(self.document.inside(&run, offset, length))
                            .help(format!(
                                "add `env: {{ VALUE: \"${{{{ {expression} }}}}\" }}` and write \"$VALUE\" here"
                            )),
                    );
                }
            }
            Json::Array(items) => {
                if stage.get("shell").is_some() {
                    let at = self.document.at_key(&format!("{pointer}/shell"));
                    self.find(Diagnostic::usage("TL0211", "a list runs without a shell").at(at).help("remove `shell`"));
                }
                for (index, item) in items.iter().enumerate() {
                    let Some(text) = item.as_str().filter(|text| Template::is_in(text)) else { continue };
                    let at = format!("{run}/{index}");
                    if index == 0 {
                        let place = self.document.at_value(&at);
                        self.find(Diagnostic::usage("TL0307", "the program itself cannot be an expression").at(place));
                        continue;
                    }
                    self.argument(&at, text, scope);
                }
            }
            _ => {}
        }
    }

    fn argument(&mut self, pointer: &str, text: &str, scope: &Scope) {
        match Template::parse(text).and_then(|template| check_template(&template, scope)) {
            Err(mistake) => self.mistake(pointer, mistake),
            Ok(Type::Secret) => self.find(
                Diagnostic::usage(
                    "TL0304",
                    "a secret must not be an argument: every user of this machine can read it there",
                )
                .at(self.document.at_value(pointer))
                .help("put it into `env` and let the program read it there"),
            ),
            Ok(kind) if kind.is_scalar() => {}
            Ok(kind) => self.find(
                Diagnostic::usage("TL0303", format!("an argument is a text; this is {kind}"))
                    .at(self.document.at_value(pointer)),
            ),
        }
    }

    fn notifications(&mut self) {
        for (index, notification) in self.file["notify"].as_array().into_iter().flatten().enumerate() {
            for (place, channel) in notification["to"].as_array().into_iter().flatten().enumerate() {
                if let Some(name) = channel.as_str() {
                    self.known("channels", "channel", &format!("/notify/{index}/to/{place}"), name);
                }
            }
        }
    }

    /// Expressions where none is read.
    fn stray_expressions(&mut self, pointer: &str, value: &Json) {
        match value {
            Json::String(text) if Template::is_in(text) && !may_hold_expression(pointer) => {
                let key = pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
                self.find(
                    Diagnostic::usage("TL0307", format!("an expression cannot stand in `{key}`"))
                        .at(self.document.at_value(pointer))
                        .help("expressions stand in `with`, `env`, `if` and the arguments of `run`"),
                );
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.stray_expressions(&format!("{pointer}/{index}"), item);
                }
            }
            Json::Object(map) => {
                for (key, item) in map {
                    self.stray_expressions(&format!("{pointer}/{}", escape(key)), item);
                }
            }
            _ => {}
        }
    }
}

fn may_hold_expression(pointer: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    match parts.as_slice() {
        ["stages" | "finally", _, key, ..] => matches!(*key, "with" | "env" | "run" | "if"),
        ["stores" | "channels", _, "with", ..] => true,
        _ => false,
    }
}

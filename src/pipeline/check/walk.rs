//! The walk of the static checks over a file, and over each of its stages.

use serde_json::{Map, Value as Json};

use super::checker::{Checker, Site, kind_of};
use super::scope::Scopes;
use super::sites::first_expression;
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::{Expression, ExpressionError, Type, check, with_article};
use crate::pipeline::read::{MAX_FINDINGS, entries, escape};
use crate::stages::{Finding, Findings, Known};
use crate::{channels, storage};

impl Checker<'_> {
    /// Checks literals only: what the schema cannot say of them.
    pub(in crate::pipeline) fn literals_only(mut self) -> Vec<Diagnostic> {
        self.literals_of_file();
        self.found
    }

    /// Runs all checks.
    pub(in crate::pipeline) fn run(mut self) -> Vec<Diagnostic> {
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
        for (name, store) in entries(self.file, "stores") {
            self.store(name, store);
        }
        for (name, channel) in entries(self.file, "channels") {
            self.channel(name, channel);
        }
        for section in ["stages", "finally"] {
            for (name, stage) in entries(self.file, section) {
                // Each wrong name is compared with all names, so a file of wrong names would take quadratic time.
                if self.found.len() > MAX_FINDINGS {
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
        self.misplaced_expressions("", self.file);
        self.literals_of_file();
        self.found
    }

    fn stage(&mut self, section: &str, name: &str, stage: &Json) {
        let pointer = format!("/{section}/{}", escape(name));
        let is_finally = section == "finally";
        if is_finally && self.file["stages"].get(name).is_some() {
            let message = format!("a stage `{name}` stands in `stages` already");
            self.report(
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
            // The condition is evaluated once, before there are instances, so it cannot see `matrix`.
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
        if let Some(kind) = kind_of(stage) {
            let with = format!("{pointer}/with");
            self.settings(&with, &stage["with"], (kind.schema)(), site);
            self.one_of_the_others(&with, &stage["with"], (kind.schema)(), kind.name);
            if let Some(delivery) = kind.delivery() {
                self.lock(&with, &stage["with"], delivery);
            }
            let mut found = Findings::default();
            let nothing = Json::Object(Map::new());
            (kind.check)(&Known::new(stage.get("with").unwrap_or(&nothing)), &mut found);
            for Finding { pointer, is_at_key, problem } in found {
                let pointer = format!("{with}{pointer}");
                let at = if is_at_key { self.document.at_key(&pointer) } else { self.document.at_value(&pointer) };
                self.report(problem.at(at));
            }
        }
        self.program(&pointer, stage, site);
    }

    fn condition(&mut self, pointer: &str, text: &str, site: Site<'_>) {
        if let Some((offset, length)) = first_expression(text) {
            let at = self.document.inside(pointer, offset, length);
            self.report(
                Diagnostic::usage(codes::TL0301, "an `if` is an expression already")
                    .at(at)
                    .help("leave out `${{` and `}}`"),
            );
            return;
        }
        match Expression::parse(text, 0) {
            Err(error) => self.report_error(pointer, error),
            Ok(expression) if self.scopes.is_reported_elsewhere(&expression, site.stage) => {}
            Ok(expression) => match check(&expression, site.scope) {
                Ok(Type::Bool | Type::Any) => {}
                Ok(other) => {
                    let message = format!("an `if` must be true or false; this is {}", with_article(&other));
                    let place = expression.place();
                    self.report_error(pointer, ExpressionError::new(codes::TL0303, place, message));
                }
                Err(error) => self.report_error(pointer, error),
            },
        }
    }
}

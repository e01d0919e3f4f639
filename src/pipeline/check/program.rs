//! Checks `run`: a list without a shell or a text with one, and its environment.

use serde_json::Value as Json;

use super::checker::{Checker, Site};
use super::sites::{first_expression, first_place, secret_in};
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::{Template, Type, with_article};

const ARTIFACTS: &str = "an artifact is no file: it flows from stage to stage, such as `encrypt` and `upload`";

/// The help for a value that is not a scalar.
fn instead(kind: &Type, template: &Template) -> Option<String> {
    match kind {
        Type::Nullable(_) => template.expressions().next().map(|expression| expression.unless_null("'…'")),
        Type::Artifact => Some(ARTIFACTS.to_owned()),
        _ => None,
    }
}

impl Checker<'_> {
    pub(super) fn program(&mut self, pointer: &str, stage: &Json, site: Site<'_>) {
        self.as_written(&format!("{pointer}/env"), &stage["env"]);
        self.as_written(&format!("{pointer}/strategy/matrix"), &stage["strategy"]["matrix"]);
        if stage.get("uses").is_some() {
            if stage["retry"].get("exit-codes").is_some() {
                let at = self.document.at_key(&format!("{pointer}/retry/exit-codes"));
                let message = "`exit-codes` goes with `run`, not with `uses`";
                self.report(
                    Diagnostic::usage(codes::TL0209, message).at(at).help("a kind knows itself what to try again"),
                );
            }
            // A stage with both `uses` and `run` is reported already.
            return;
        }
        let run = format!("{pointer}/run");
        match &stage["run"] {
            Json::String(script) => {
                let at = self.document.at_value(&run);
                if script.trim().is_empty() {
                    self.report(Diagnostic::usage(codes::TL0206, "`run` must not be empty").at(at));
                } else if stage.get("shell").is_none() {
                    self.report(
                        Diagnostic::usage(codes::TL0211, "a script needs its `shell`")
                            .at(at)
                            .help("add `shell: bash`, or write a list without a shell: `run: [program, argument]`"),
                    );
                }
                self.script(&run, script);
            }
            Json::Array(items) => {
                if stage.get("shell").is_some() {
                    let at = self.document.at_key(&format!("{pointer}/shell"));
                    self.report(
                        Diagnostic::usage(codes::TL0211, "a list runs without a shell")
                            .at(at)
                            .help("remove `shell`, or write `run` as one text"),
                    );
                }
                for (index, item) in items.iter().enumerate() {
                    let Some(text) = item.as_str() else { continue };
                    self.argument(&format!("{run}/{index}"), index, text, site);
                }
            }
            _ => {}
        }
    }

    /// Reports each number that becomes a text of another spelling, such as a version.
    fn as_written(&mut self, pointer: &str, value: &Json) {
        match value {
            Json::Number(number) => {
                let at = self.document.at_value(pointer);
                let written: String = at.text.chars().skip(at.column - 1).take(at.length).collect();
                // An alias or a value from another place shows no number here.
                let is_number = written.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
                if is_number && written != number.to_string() {
                    let message = format!("this number would arrive as `{number}`, not as `{written}`");
                    let help = format!("write \"{written}\" in quotes");
                    self.report(Diagnostic::usage(codes::TL0212, message).at(at).help(help));
                }
            }
            Json::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| self.as_written(&format!("{pointer}/{at}"), item));
            }
            Json::Object(map) => {
                for (key, item) in map {
                    self.as_written(&format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), item);
                }
            }
            _ => {}
        }
    }

    /// Reports each expression in a script. Its value would become part of the program: a shell injection.
    fn script(&mut self, run: &str, script: &str) {
        let mut rest = script;
        while let Some((offset, length)) = first_expression(rest) {
            let before = script.chars().count() - rest.chars().count();
            let expression: String = rest.chars().skip(offset).take(length).collect();
            self.report(
                Diagnostic::usage(codes::TL0305, "an expression in a script would become part of the program")
                    .at(self.document.inside(run, before + offset, length))
                    .help(format!("add `env: {{ VALUE: \"{expression}\" }}` and write \"$VALUE\" here")),
            );
            let end = rest.char_indices().nth(offset + length).map_or(rest.len(), |(end, _)| end);
            rest = &rest[end..];
        }
    }

    fn argument(&mut self, pointer: &str, index: usize, text: &str, site: Site<'_>) {
        if index == 0 && text.is_empty() {
            let at = self.document.at_value(pointer);
            self.report(Diagnostic::usage(codes::TL0206, "the program to run has no name").at(at));
            return;
        }
        let Some((offset, length)) = first_expression(text) else { return };
        if index == 0 {
            self.report(
                Diagnostic::usage(codes::TL0307, "the program itself cannot be an expression")
                    .at(self.document.inside(pointer, offset, length))
                    .help("name the program; what comes after it may be expressions"),
            );
            return;
        }
        let Some((kind, template)) = self.typed(pointer, text, site) else { return };
        if kind == Type::Secret {
            let message = "a secret must not be an argument: every user of this machine can read it there";
            let help = "put it into `env` and let the program read it there";
            self.report_at(pointer, codes::TL0304, secret_in(&template, site.scope), message, Some(help));
        } else if !kind.is_scalar() {
            let message = format!("an argument is a text; this is {}", with_article(&kind));
            self.report_at(
                pointer,
                codes::TL0303,
                first_place(&template),
                message,
                instead(&kind, &template).as_deref(),
            );
        }
    }

    pub(super) fn variable(&mut self, pointer: &str, name: &str, value: &Json, site: Site<'_>) {
        let loader = ["LD_", "DYLD_", "TL_"].iter().any(|prefix| name.starts_with(prefix));
        if loader || ["BASH_ENV", "ENV", "IFS", "SHELLOPTS", "TL"].contains(&name) {
            let (why, help) = if name.starts_with("TL") {
                ("names with TL are tl's own", "give the variable another name")
            } else {
                ("it changes what a program or a shell is", "let a script set it that is reviewed as a program is")
            };
            let found = Diagnostic::usage(codes::TL0210, format!("`{name}` cannot be set: {why}"));
            self.report(found.at(self.document.at_key(pointer)).help(help));
        }
        let Some(text) = value.as_str().filter(|text| Template::is_in(text)) else { return };
        let Some((kind, template)) = self.typed(pointer, text, site) else { return };
        // A number or a boolean has one spelling as a text, so it is allowed.
        if !kind.is_scalar() {
            let message = format!("a variable holds a text; this is {}", with_article(&kind));
            self.report_at(
                pointer,
                codes::TL0303,
                first_place(&template),
                message,
                instead(&kind, &template).as_deref(),
            );
        }
    }
}

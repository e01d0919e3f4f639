//! The static checks that a schema cannot express: their state, and how they report.

use serde_json::Value as Json;

use super::scope::Scopes;
use super::sites::{first_place, secret_in};
use super::wording::listed;
use crate::diagnostic::{Code, Diagnostic, codes};
use crate::expression::{ExpressionError, Scope, Template, Type, check, check_template, did_you_mean, with_article};
use crate::pipeline::read::{Document, MAX_FINDINGS, entries, field_of};
use crate::stages::{self, StageKind};

/// The state of the static checks over one file. The checks themselves are methods in the files of their subjects.
pub(in crate::pipeline) struct Checker<'a> {
    pub(super) document: &'a Document,
    pub(super) file: &'a Json,
    pub(super) scopes: Scopes<'a>,
    pub(super) found: Vec<Diagnostic>,
}

/// The site of an expression: the names that it may use, and its stage (`null` outside of stages).
#[derive(Clone, Copy)]
pub(super) struct Site<'s> {
    pub(super) scope: &'s Scope,
    pub(super) stage: &'s Json,
}

/// The kind of a stage that names one.
pub(super) fn kind_of(stage: &Json) -> Option<&'static StageKind> {
    stage["uses"].as_str().and_then(stages::find)
}

impl<'a> Checker<'a> {
    pub(in crate::pipeline) fn new(document: &'a Document) -> Self {
        Self::over(document, document.value())
    }

    /// Checks `file` in place of the value of the document. Places are those of the document, so both must have one shape.
    pub(in crate::pipeline) fn over(document: &'a Document, file: &'a Json) -> Self {
        Self { document, file, scopes: Scopes::new(file), found: Vec::new() }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        // One finding above the limit tells the caller that there are more.
        if self.found.len() <= MAX_FINDINGS {
            self.found.push(diagnostic);
        }
    }

    pub(super) fn report_error(&mut self, pointer: &str, error: ExpressionError) {
        let place = self.document.inside(pointer, error.offset, error.length);
        let diagnostic = Diagnostic::usage(error.code, error.message).at(place);
        let diagnostic = match self.document.alias_line(pointer) {
            Some(line) => diagnostic.label(format!("as line {line} copies it")),
            None => diagnostic,
        };
        self.report(match error.help {
            Some(help) if help.starts_with("did you mean") && diagnostic.label.is_none() => diagnostic.label(help),
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    /// The type of a text with expressions. `None` if it has an error, which is reported here, or if it uses something
    /// that has an error, which is reported at its own place.
    pub(super) fn typed(&mut self, pointer: &str, text: &str, site: Site<'_>) -> Option<(Type, Template)> {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                self.report_error(pointer, error);
                return None;
            }
        };
        let mut sound = true;
        for expression in template.expressions() {
            if self.scopes.is_reported_elsewhere(expression, site.stage) {
                sound = false;
            } else if let Err(error) = check(expression, site.scope) {
                self.report_error(pointer, error);
                sound = false;
            }
        }
        if !sound {
            return None;
        }
        match check_template(&template, site.scope) {
            Ok(kind) => Some((kind, template)),
            Err(error) => {
                self.report_error(pointer, error);
                None
            }
        }
    }

    /// Checks a text with expressions against the type of its field.
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
            self.report_at(pointer, codes::TL0304, place, message, Some(help));
        } else {
            let message = format!("`{field}` wants {}; this is {}", with_article(wanted), with_article(&given));
            let unless_null = template.expressions().next().map(|expression| expression.unless_null("'…'"));
            let help = match (&given, wanted) {
                (Type::Nullable(_), _) => unless_null.as_deref(),
                (Type::Int | Type::Double | Type::Bool, Type::String | Type::Secret) => Some("wrap it: `string(…)`"),
                (Type::String, Type::List(_)) => Some("write a list: `[\"${{ … }}\"]`"),
                _ => None,
            };
            self.report_at(pointer, codes::TL0303, first_place(&template), message, help);
        }
    }

    /// Reports an error at a place inside a text.
    pub(super) fn report_at(
        &mut self,
        pointer: &str,
        code: Code,
        place: (usize, usize),
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        let help = help.map(str::to_owned);
        self.report_error(pointer, ExpressionError { help, ..ExpressionError::new(code, place, message) });
    }

    /// Requires that a store or a channel of this name is declared.
    pub(super) fn require_known(&mut self, section: &str, what: &str, pointer: &str, name: &str) {
        // An error of the section itself is reported once, not at each use.
        let is_wrong = self.file.get(section).map_or(self.scopes.is_misspelt(section), |map| !map.is_object());
        if self.file[section].get(name).is_some() || is_wrong || Template::is_in(name) {
            return;
        }
        let message = format!("there is no {what} `{}`", name.escape_debug());
        let diagnostic = Diagnostic::usage(codes::TL0403, message).at(self.document.at_value(pointer));
        let known: Vec<&str> = entries(self.file, section).map(|(name, _)| name.as_str()).collect();
        self.report(match did_you_mean(name, known.iter().copied()) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None if known.is_empty() => diagnostic.help(format!("declare it under `{section}`")),
            None => diagnostic.help(format!("`{section}` has {}", listed(&known))),
        });
    }
}

//! The static checks: what a schema cannot say.

use serde_json::Value as Json;

use super::scope::Scopes;
use super::sites::{first_place, secret_in};
use super::wording::listed;
use crate::diagnostic::{Code, Diagnostic, codes};
use crate::expression::{ExpressionError, Scope, Template, Type, check, check_template, did_you_mean, with_article};
use crate::pipeline::read::{Document, MOST_FINDINGS, entries, field_of};
use crate::stages::{self, StageKind};

pub(in crate::pipeline) struct Checker<'a> {
    pub(super) document: &'a Document,
    pub(super) file: &'a Json,
    pub(super) scopes: Scopes<'a>,
    pub(super) found: Vec<Diagnostic>,
}

/// Where an expression stands: what it may use, and the stage whose it is.
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

    /// For a value of the shape of the document's.
    pub(in crate::pipeline) fn over(document: &'a Document, file: &'a Json) -> Self {
        Self { document, file, scopes: Scopes::new(file), found: Vec::new() }
    }

    pub(super) fn find(&mut self, diagnostic: Diagnostic) {
        // One more than is told, which says that there are more.
        if self.found.len() <= MOST_FINDINGS {
            self.found.push(diagnostic);
        }
    }

    pub(super) fn error(&mut self, pointer: &str, error: ExpressionError) {
        let place = self.document.inside(pointer, error.offset, error.length);
        let diagnostic = Diagnostic::usage(error.code, error.message).at(place);
        let diagnostic = match self.document.alias_line(pointer) {
            Some(line) => diagnostic.label(format!("as line {line} copies it")),
            None => diagnostic,
        };
        self.find(match error.help {
            Some(help) if help.starts_with("did you mean") && diagnostic.label.is_none() => diagnostic.label(help),
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    /// The type of a text with expressions. `None` where something in it is wrong, which is reported here, or where it
    /// uses something that is wrong, which is reported there.
    pub(super) fn typed(&mut self, pointer: &str, text: &str, site: Site<'_>) -> Option<(Type, Template)> {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                self.error(pointer, error);
                return None;
            }
        };
        let mut sound = true;
        for expression in template.expressions() {
            if self.scopes.is_blind(expression, site.stage) {
                sound = false;
            } else if let Err(error) = check(expression, site.scope) {
                self.error(pointer, error);
                sound = false;
            }
        }
        if !sound {
            return None;
        }
        match check_template(&template, site.scope) {
            Ok(kind) => Some((kind, template)),
            Err(error) => {
                self.error(pointer, error);
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
            let message = format!("`{field}` wants {}; this is {}", with_article(wanted), with_article(&given));
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
        self.error(pointer, ExpressionError { help, ..ExpressionError::new(code, place, message) });
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
}

//! Checks `strategy.matrix` before anything runs.
//!
//! A matrix is expanded when the needs of its stage have ended, whether its lists are literal or come from outputs. There
//! is one way for both. The `if` of the stage is evaluated before that, once, and sees no `matrix`.

use serde_json::Value as Json;

use super::checker::{Checker, Site, kind_of};
use super::matrix_values::{axes, combinations};
use super::sites::first_place;
use super::wording::{listed, short};
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::{Template, Type, did_you_mean, with_article};
use crate::pipeline::model::{EXCLUDE, INCLUDE};
use crate::pipeline::read::escape;
use crate::stages::{Delivery, StageKind};

/// The largest number of instances of one matrix. More are almost certainly an error.
pub const MAX_INSTANCES: usize = 1_000;

impl Checker<'_> {
    pub(super) fn matrix(&mut self, stage_at: &str, stage: &Json, is_finally: bool) {
        let Some(matrix) = stage["strategy"].get("matrix") else { return };
        let pointer = format!("{stage_at}/strategy/matrix");
        if matrix.as_object().is_some_and(|map| !map.is_empty())
            && axes(stage).next().is_none()
            && combinations(stage, INCLUDE).next().is_none()
        {
            let found = Diagnostic::usage(codes::TL0202, "a matrix needs a list of values, or `include`");
            self.report(found.at(self.document.at_key(&pointer)).help("such as `matrix: { store: [one, two] }`"));
        }
        let scope = self.scopes.before_instances(stage, is_finally);
        let site = Site { scope: &scope, stage };
        for (name, values) in axes(stage) {
            self.axis(&format!("{pointer}/{}", escape(name)), values, site);
        }
        for which in [INCLUDE, EXCLUDE] {
            for (index, map) in combinations(stage, which).enumerate() {
                for (name, value) in map {
                    self.matrix_value(&format!("{pointer}/{which}/{index}/{}", escape(name)), value, site);
                }
            }
        }
        self.excluded_values(&pointer, stage);
        self.incomplete_combinations(&pointer, stage);
        let lengths = axes(stage).filter_map(|(_, values)| values.as_array()).map(|items| items.len().max(1));
        let of_lists = lengths.fold(1_usize, usize::saturating_mul);
        let count = of_lists.max(combinations(stage, INCLUDE).count());
        if count > MAX_INSTANCES {
            let message = format!("this matrix has {count} instances; at most {MAX_INSTANCES} are allowed");
            let found = Diagnostic::usage(codes::TL0410, message).at(self.document.at_key(&pointer));
            self.report(found.help("let one stage do several of these things"));
        } else if of_lists > 1 {
            self.one_object_of_many(stage_at, stage);
        }
    }

    fn axis(&mut self, pointer: &str, values: &Json, site: Site<'_>) {
        match values {
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{pointer}/{index}");
                    if items[..index.min(MAX_INSTANCES)].contains(item) {
                        let found =
                            Diagnostic::usage(codes::TL0409, format!("{} stands in this list twice", short(item)));
                        self.report(
                            found.at(self.document.at_value(&at)).help("once is enough: it would be done twice"),
                        );
                    }
                    self.matrix_value(&at, item, site);
                }
            }
            Json::String(text) if Template::is_in(text) => {
                let Some((kind, template)) = self.typed(pointer, text, site) else { return };
                if !matches!(kind, Type::List(_) | Type::Any) {
                    let message = format!("a matrix takes a list of values; this is {}", with_article(&kind));
                    let help = match kind {
                        Type::Secret => None,
                        _ => Some("write a list: `[\"${{ … }}\"]`"),
                    };
                    self.report_at(pointer, codes::TL0303, first_place(&template), message, help);
                }
            }
            // The schema reports anything else.
            _ => {}
        }
    }

    fn matrix_value(&mut self, pointer: &str, value: &Json, site: Site<'_>) {
        match value {
            Json::String(text) if Template::is_in(text) => {
                let Some((kind, template)) = self.typed(pointer, text, site) else { return };
                if kind == Type::Secret {
                    let message = "a secret cannot be a value of a matrix: these are shown";
                    self.report_at(pointer, codes::TL0304, first_place(&template), message, None);
                }
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.matrix_value(&format!("{pointer}/{index}"), item, site);
                }
            }
            Json::Object(map) => {
                for (name, item) in map {
                    self.matrix_value(&format!("{pointer}/{}", escape(name)), item, site);
                }
            }
            _ => {}
        }
    }

    /// Checks that `exclude` names lists and values that exist.
    fn excluded_values(&mut self, pointer: &str, stage: &Json) {
        let names: Vec<&str> = axes(stage).map(|(name, _)| name.as_str()).collect();
        for (index, map) in combinations(stage, EXCLUDE).enumerate() {
            for (name, value) in map {
                let at = format!("{pointer}/{EXCLUDE}/{index}/{}", escape(name));
                match axes(stage).find(|(axis, _)| *axis == name) {
                    None => {
                        let message = format!("this matrix has no list `{}`", name.escape_debug());
                        let found = Diagnostic::usage(codes::TL0408, message).at(self.document.at_key(&at));
                        self.report(match did_you_mean(name, names.iter().copied()) {
                            Some(near) => found.label(format!("did you mean `{near}`?")),
                            None => found.help(format!("it has {}", listed(&names))),
                        });
                    }
                    Some((_, Json::Array(items))) if !items.contains(value) && is_literal(items, value) => {
                        let message = format!("the list `{name}` has no {}, so nothing is excluded", short(value));
                        let found = Diagnostic::usage(codes::TL0408, message).at(self.document.at_value(&at));
                        self.report(found.help("name a value of the list, or remove it"));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Reports an `include` that matches no combination of the lists and lacks a value of some list. It becomes a
    /// combination of its own, and an instance without a value of each list is skipped. GitHub Actions would run it with an
    /// empty value.
    fn incomplete_combinations(&mut self, pointer: &str, stage: &Json) {
        for (index, map) in combinations(stage, INCLUDE).enumerate() {
            let lacks: Vec<&str> =
                axes(stage).map(|(name, _)| name.as_str()).filter(|name| !map.contains_key(*name)).collect();
            let other = map.iter().find(|(name, value)| {
                let list = axes(stage).find(|(axis, _)| axis == name).and_then(|(_, list)| list.as_array());
                list.is_some_and(|items| !items.contains(value) && is_literal(items, value))
            });
            let (false, Some((name, value))) = (lacks.is_empty(), other) else { continue };
            let message = format!(
                "the list `{name}` has no {}: this `include` is a combination of its own, and lacks {}",
                short(value),
                listed(&lacks)
            );
            let at = self.document.at_value(&format!("{pointer}/{INCLUDE}/{index}/{}", escape(name)));
            let help = format!("give it a value of {}, or name a value that `{name}` has", listed(&lacks));
            self.report(Diagnostic::usage(codes::TL0413, message).at(at).help(help));
        }
    }

    /// Reports a delivery whose instances would all write the same object.
    fn one_object_of_many(&mut self, stage_at: &str, stage: &Json) {
        let Some(Delivery { store, key, .. }) = kind_of(stage).and_then(StageKind::delivery) else { return };
        let is_fixed = |setting: &str| stage["with"][setting].as_str().is_some_and(|text| !text.contains("matrix."));
        if is_fixed(store) && is_fixed(key) {
            let at = self.document.at_value(&format!("{stage_at}/with/{key}"));
            let found = Diagnostic::usage(codes::TL0412, "all instances of this matrix would write the same object");
            let help = format!("put a value of `matrix` into `{key}`, or let it choose the `{store}`");
            self.report(found.at(at).help(help));
        }
    }
}

/// Whether neither the list nor the value holds an expression.
fn is_literal(items: &[Json], value: &Json) -> bool {
    let holds = |value: &Json| value.to_string().contains("${{");
    !holds(value) && !items.iter().any(holds)
}

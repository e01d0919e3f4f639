//! `strategy.matrix`: the types of its values, and what can be wrong with it before anything runs.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::check::{Checker, Site, first_place, listed};
use super::events::escape;
use super::resolve::whole_path;
use super::strategy::{EXCLUDE, INCLUDE};
use super::wording::short;
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::{Scope, Template, Type, article, check_template, did_you_mean};

/// A matrix of more instances is a mistake.
pub const MOST_INSTANCES: usize = 1_000;

/// The lists of a matrix: all but `include` and `exclude`.
pub(super) fn axes(stage: &Json) -> impl Iterator<Item = (&String, &Json)> {
    let matrix = stage["strategy"]["matrix"].as_object().into_iter().flat_map(Map::iter);
    matrix.filter(|(name, _)| !matches!(name.as_str(), INCLUDE | EXCLUDE))
}

/// The combinations of `include` or `exclude`.
fn combinations<'a>(stage: &'a Json, which: &str) -> impl Iterator<Item = &'a Map<String, Json>> {
    stage["strategy"]["matrix"][which].as_array().into_iter().flatten().filter_map(Json::as_object)
}

/// The type of the `matrix` that the instances of a stage see, if it has one. What is wrong in it is of no known type.
pub(super) fn matrix_type(stage: &Json, scope: &Scope) -> Option<Type> {
    stage["strategy"].get("matrix")?;
    let mut fields: BTreeMap<String, Type> = BTreeMap::new();
    for (name, values) in axes(stage) {
        let kind = match values {
            Json::Array(items) => items.iter().map(|item| type_of(item, scope)).reduce(Type::join).unwrap_or(Type::Any),
            // An instance that would see `null` is skipped.
            other => match type_of(other, scope) {
                Type::List(item) => match *item {
                    Type::Nullable(item) => *item,
                    item => item,
                },
                _ => Type::Any,
            },
        };
        fields.insert(name.clone(), kind);
    }
    let has_axes = !fields.is_empty();
    let added: Vec<_> = combinations(stage, INCLUDE).collect();
    let mut extra: BTreeMap<String, Type> = BTreeMap::new();
    for (name, value) in added.iter().copied().flatten() {
        let kind = type_of(value, scope);
        let known = if fields.contains_key(name) { &mut fields } else { &mut extra };
        let joined = known.remove(name).map_or_else(|| kind.clone(), |before| before.join(kind.clone()));
        known.insert(name.clone(), joined);
    }
    for (name, kind) in extra {
        let is_always_there = !has_axes && added.iter().all(|map| map.contains_key(&name));
        fields.insert(name, if is_always_there { kind } else { kind.join(Type::Null) });
    }
    Some(Type::record("matrix", fields))
}

/// The type of a value that stands in the file, with expressions in it.
fn type_of(value: &Json, scope: &Scope) -> Type {
    match value {
        Json::String(text) if Template::is_in(text) => {
            Template::parse(text).and_then(|template| check_template(&template, scope)).unwrap_or(Type::Any)
        }
        Json::String(_) => Type::String,
        Json::Null => Type::Null,
        Json::Bool(_) => Type::Bool,
        Json::Number(number) if number.is_f64() => Type::Double,
        Json::Number(_) => Type::Int,
        Json::Array(items) => {
            let kind = items.iter().map(|item| type_of(item, scope)).reduce(Type::join);
            Type::List(Box::new(kind.unwrap_or(Type::Any)))
        }
        Json::Object(map) => {
            Type::record("object", map.iter().map(|(name, item)| (name.clone(), type_of(item, scope))))
        }
    }
}

/// The texts that an expression can come to, each with the pointer at which it stands: where it is one item of a matrix
/// whose list stands in the file, or one input with an `enum`.
pub(super) fn choices(file: &Json, stage: &Json, pointer: &str, text: &str) -> Option<Vec<(String, String)>> {
    let path = whole_path(text)?;
    let [root, name] = path.as_slice() else { return None };
    let texts = |at: String, values: &Json| {
        let items = values.as_array()?.iter().enumerate();
        items.map(|(i, item)| Some((format!("{at}/{i}"), item.as_str()?.to_owned()))).collect::<Option<Vec<_>>>()
    };
    match root.as_str() {
        "matrix" => {
            let stage_at: Vec<&str> = pointer.splitn(4, '/').take(3).collect();
            let matrix = format!("{}/strategy/matrix", stage_at.join("/"));
            let mut all = match axes(stage).find(|(axis, _)| *axis == name) {
                Some((_, values)) => texts(format!("{matrix}/{}", escape(name)), values)?,
                None => Vec::new(),
            };
            for (index, map) in combinations(stage, INCLUDE).enumerate() {
                if let Some(value) = map.get(name) {
                    all.push((format!("{matrix}/{INCLUDE}/{index}/{}", escape(name)), value.as_str()?.to_owned()));
                }
            }
            let is_literal = all.iter().all(|(_, text)| !Template::is_in(text));
            (is_literal && !all.is_empty()).then_some(all)
        }
        "inputs" => texts(format!("/inputs/{}/enum", escape(name)), &file["inputs"][name]["enum"]),
        _ => None,
    }
}

impl Checker<'_> {
    pub(super) fn matrix(&mut self, stage_at: &str, stage: &Json, is_finally: bool) {
        let Some(matrix) = stage["strategy"].get("matrix") else { return };
        let pointer = format!("{stage_at}/strategy/matrix");
        if matrix.as_object().is_some_and(|map| !map.is_empty())
            && axes(stage).next().is_none()
            && combinations(stage, INCLUDE).next().is_none()
        {
            let found = Diagnostic::usage(codes::TL0202, "a matrix needs a list of values, or `include`");
            self.find(found.at(self.document.at_key(&pointer)).help("such as `matrix: { store: [one, two] }`"));
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
        if count > MOST_INSTANCES {
            let message = format!("this matrix has {count} instances; at most {MOST_INSTANCES} are allowed");
            let found = Diagnostic::usage(codes::TL0410, message).at(self.document.at_key(&pointer));
            self.find(found.help("let one stage do several of these things"));
        } else if of_lists > 1 {
            self.one_object_of_many(stage_at, stage);
        }
    }

    fn axis(&mut self, pointer: &str, values: &Json, site: Site<'_>) {
        match values {
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{pointer}/{index}");
                    if items[..index.min(MOST_INSTANCES)].contains(item) {
                        let found =
                            Diagnostic::usage(codes::TL0409, format!("{} stands in this list twice", short(item)));
                        self.find(found.at(self.document.at_value(&at)).help("once is enough: it would be done twice"));
                    }
                    self.matrix_value(&at, item, site);
                }
            }
            Json::String(text) if Template::is_in(text) => {
                let Some((kind, template)) = self.typed(pointer, text, site) else { return };
                if !matches!(kind, Type::List(_) | Type::Any) {
                    let message = format!("a matrix takes a list of values; this is {}", article(&kind));
                    let help = match kind {
                        Type::Secret => None,
                        _ => Some("write a list: `[\"${{ … }}\"]`"),
                    };
                    self.flow(pointer, codes::TL0303, first_place(&template), message, help);
                }
            }
            // The schema's to report.
            _ => {}
        }
    }

    fn matrix_value(&mut self, pointer: &str, value: &Json, site: Site<'_>) {
        match value {
            Json::String(text) if Template::is_in(text) => {
                let Some((kind, template)) = self.typed(pointer, text, site) else { return };
                if kind == Type::Secret {
                    let message = "a secret cannot be a value of a matrix: these are shown";
                    self.flow(pointer, codes::TL0304, first_place(&template), message, None);
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

    /// What `exclude` names must be there.
    fn excluded_values(&mut self, pointer: &str, stage: &Json) {
        let names: Vec<&str> = axes(stage).map(|(name, _)| name.as_str()).collect();
        for (index, map) in combinations(stage, EXCLUDE).enumerate() {
            for (name, value) in map {
                let at = format!("{pointer}/{EXCLUDE}/{index}/{}", escape(name));
                match axes(stage).find(|(axis, _)| *axis == name) {
                    None => {
                        let message = format!("this matrix has no list `{}`", name.escape_debug());
                        let found = Diagnostic::usage(codes::TL0408, message).at(self.document.at_key(&at));
                        self.find(match did_you_mean(name, names.iter().copied()) {
                            Some(near) => found.label(format!("did you mean `{near}`?")),
                            None => found.help(format!("it has {}", listed(&names))),
                        });
                    }
                    Some((_, Json::Array(items))) if !items.contains(value) && is_literal(items, value) => {
                        let message = format!("the list `{name}` has no {}, so nothing is excluded", short(value));
                        let found = Diagnostic::usage(codes::TL0408, message).at(self.document.at_value(&at));
                        self.find(found.help("name a value of the list, or remove it"));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// An `include` that belongs to no combination of the lists is one of its own, and needs a value of each list: without
    /// one its instance would be skipped.
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
            self.find(Diagnostic::usage(codes::TL0413, message).at(at).help(help));
        }
    }

    /// An upload whose instances would all write to the same place.
    fn one_object_of_many(&mut self, stage_at: &str, stage: &Json) {
        let is_fixed = |key: &str| stage["with"][key].as_str().is_some_and(|text| !text.contains("matrix."));
        if stage["uses"] == "upload" && is_fixed("store") && is_fixed("key") {
            let at = self.document.at_value(&format!("{stage_at}/with/key"));
            let found = Diagnostic::usage(codes::TL0412, "all instances of this matrix would write the same object");
            self.find(found.at(at).help("put a value of `matrix` into `key`, or let it choose the `store`"));
        }
    }
}

/// Whether neither a list nor a value waits for something to be known.
fn is_literal(items: &[Json], value: &Json) -> bool {
    let holds = |value: &Json| value.to_string().contains("${{");
    !holds(value) && !items.iter().any(holds)
}

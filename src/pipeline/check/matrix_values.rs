//! The values of a `strategy.matrix`: their types, and the texts that an expression over them can give.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::expression::{Scope, Template, Type, check_template};
use crate::pipeline::model::{EXCLUDE, INCLUDE, whole_path};
use crate::pipeline::read::escape;

/// The lists of a matrix: all but `include` and `exclude`.
pub(super) fn axes(stage: &Json) -> impl Iterator<Item = (&String, &Json)> {
    let matrix = stage["strategy"]["matrix"].as_object().into_iter().flat_map(Map::iter);
    matrix.filter(|(name, _)| !matches!(name.as_str(), INCLUDE | EXCLUDE))
}

/// The combinations of `include` or `exclude`.
pub(super) fn combinations<'a>(stage: &'a Json, which: &str) -> impl Iterator<Item = &'a Map<String, Json>> {
    stage["strategy"]["matrix"][which].as_array().into_iter().flatten().filter_map(Json::as_object)
}

/// The type of `matrix` in the instances of a stage. `None` if the stage has no matrix. Values with errors have type `Any`.
pub(super) fn matrix_type(stage: &Json, scope: &Scope) -> Option<Type> {
    stage["strategy"].get("matrix")?;
    let mut fields: BTreeMap<String, Type> = BTreeMap::new();
    for (name, values) in axes(stage) {
        let kind = match values {
            Json::Array(items) => items.iter().map(|item| type_of(item, scope)).reduce(Type::join).unwrap_or(Type::Any),
            // An instance whose value would be `null` is skipped, so no instance sees `null`.
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

/// The type of a value of the file, which may hold expressions.
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

/// The texts that an expression can give, each with its pointer. `None` unless the expression is one item of a matrix
/// with a literal list, or one input with an `enum`.
///
/// A store may be chosen by an expression only among such texts. So it is known before a run which stores it can reach,
/// and `policy` can check them.
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

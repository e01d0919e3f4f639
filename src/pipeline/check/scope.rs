//! The names that expressions may use, with their types, for each place where an expression may stand.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::checker::kind_of;
use super::matrix_values::matrix_type;
use super::not_built::intended_key;
use super::schema::keys_of;
use super::sites::START_CONTEXTS;
use crate::expression::{Expression, Scope, Template, Type, check_template, did_you_mean, uses_status_function};
use crate::pipeline::read::entries;

/// What all scopes of a file have in common. Built from the raw file: parts with errors are left out.
pub(super) struct Scopes<'a> {
    file: &'a Json,
    common: Scope,
    /// The type of `stages` in `finally`.
    results: Type,
    names: Arc<BTreeSet<String>>,
    /// The names in `stages`, and those in `finally`.
    sections: [Arc<BTreeSet<String>>; 2],
}

impl<'a> Scopes<'a> {
    pub(super) fn new(file: &'a Json) -> Self {
        let inputs = entries(file, "inputs").map(|(name, input)| {
            let kind = match input["type"].as_str() {
                Some("string") => Type::String,
                Some("int") => Type::Int,
                Some("number") => Type::Double,
                Some("bool") => Type::Bool,
                _ => Type::Any,
            };
            (name.clone(), kind)
        });
        let secrets = entries(file, "secrets").map(|(name, _)| (name.clone(), Type::Secret));
        let text = |name: &str| (name.to_owned(), Type::String);
        let run = ["id", "date", "time", "weekday", "pipeline"]
            .map(text)
            .into_iter()
            .chain([("attempt".to_owned(), Type::Int)]);
        let perhaps = |name: &str| (name.to_owned(), Type::Nullable(Box::new(Type::String)));
        let git = [text("commit"), ("dirty".to_owned(), Type::Bool), perhaps("branch"), perhaps("tag")];
        let ci = [("active".to_owned(), Type::Bool), perhaps("name"), perhaps("run_id"), perhaps("run_url")];
        let common = Scope::default()
            .with("inputs", Type::record("inputs", inputs))
            .with("secrets", Type::record("secrets", secrets))
            .with("run", Type::record("run", run))
            .with("host", Type::record("host", ["name", "os", "arch"].map(text)))
            .with("git", Type::record("git", git))
            .with("ci", Type::record("ci", ci))
            .without("matrix", "it is there where a stage has a `strategy` with a `matrix`");
        let all = || entries(file, "stages").chain(entries(file, "finally"));
        let result = |(name, _): (&String, &Json)| {
            (name.clone(), Type::record(format!("stages.{name}"), [("result".to_owned(), Type::String)]))
        };
        Self {
            file,
            common,
            results: Type::record("stages", all().map(result)),
            names: Arc::new(all().map(|(name, _)| name.clone()).collect()),
            sections: ["stages", "finally"]
                .map(|section| Arc::new(entries(file, section).map(|(name, _)| name.clone()).collect())),
        }
    }

    /// The scope of settings that are resolved when a run starts.
    pub(super) fn start(&self) -> Scope {
        ["needs", "stages", "env", "secrets", "run"].into_iter().fold(self.common.clone(), |scope, name| {
            scope.without(name, &format!("this is settled when a run starts, from {START_CONTEXTS}"))
        })
    }

    /// The scope of settings of stores and channels.
    pub(super) fn places(&self) -> Scope {
        ["needs", "stages", "env"].into_iter().fold(self.common.clone(), |scope, name| {
            scope.without(name, "stores and channels are opened before any stage runs")
        })
    }

    /// The scope of the environment of a stage.
    pub(super) fn environment(&self, stage: &Json, is_finally: bool) -> Scope {
        let scope = self.before_instances(stage, is_finally);
        match matrix_type(stage, &scope) {
            Some(matrix) => scope.with("matrix", matrix),
            None => scope,
        }
    }

    /// The scope of the matrix of a stage.
    pub(super) fn before_instances(&self, stage: &Json, is_finally: bool) -> Scope {
        let judges = stage["if"]
            .as_str()
            .is_some_and(|text| Expression::parse(text, 0).is_ok_and(|expression| uses_status_function(&expression)));
        let needs = needs_of(stage).filter_map(|name| {
            let needed = self.stage_named(name)?;
            let kind = stage_type(name, needed, judges || may_lack_outputs(needed));
            Some((name.to_owned(), kind))
        });
        let instead = if is_finally {
            "a stage of `finally` sees `stages.{}.result`, but no outputs"
        } else {
            "no stage can wait for `finally`, which runs last"
        };
        let scope = self
            .common
            .clone()
            .with("needs", Type::record("needs", needs))
            .with_stages(Arc::clone(&self.sections[usize::from(is_finally)]))
            .with_unreachable_stages(Arc::clone(&self.sections[usize::from(!is_finally)]), instead)
            .without("env", "a variable cannot use another one");
        if !is_finally {
            return scope.without("stages", "only stages of `finally` see all others; use `needs`");
        }
        scope.with("stages", self.results.clone())
    }

    /// The scope of everything else in a stage, made from the scope of its environment.
    pub(super) fn stage(environment: &Scope, stage: &Json) -> Scope {
        let variables = stage["env"].as_object().into_iter().flatten().map(|(name, value)| {
            // A variable that holds a secret is a secret itself.
            let kind = value
                .as_str()
                .and_then(|text| check_template(&Template::parse(text).ok()?, environment).ok())
                .filter(|kind| *kind == Type::Secret)
                .unwrap_or(Type::String);
            (name.clone(), kind)
        });
        let variables: Vec<_> = variables.collect();
        environment.clone().with("env", Type::record("env", variables))
    }

    /// Whether a section is missing because its key is misspelt. The misspelt key is reported at its own place.
    pub(super) fn is_misspelt(&self, section: &str) -> bool {
        is_misspelt(self.file, "pipeline", section)
    }

    /// Whether an expression uses something that has an error itself. That error is reported at its place, not at each use.
    pub(super) fn is_reported_elsewhere(&self, expression: &Expression, stage: &Json) -> bool {
        expression.paths().iter().any(|path| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match path.as_slice() {
                [section @ ("inputs" | "secrets"), ..] => {
                    self.file.get(section).map_or_else(|| self.is_misspelt(section), |map| !map.is_object())
                }
                ["env", ..] => is_misspelt(stage, "stage", "env"),
                ["needs", name, rest @ ..] => self.is_need_reported_elsewhere(name, rest, stage),
                _ => false,
            }
        })
    }

    fn stage_named(&self, name: &str) -> Option<&'a Json> {
        self.file["stages"].get(name).or_else(|| self.file["finally"].get(name))
    }

    fn is_need_reported_elsewhere(&self, name: &str, rest: &[&str], stage: &Json) -> bool {
        if needs_of(stage).any(|need| need == name) && self.has_stage(name) {
            let needed = self.stage_named(name).unwrap_or(&Json::Null);
            let has_kind = kind_of(needed).is_some();
            let is_run = needed.get("uses").is_none() && needed.get("run").is_some();
            let has_outputs = has_kind || is_run && !is_misspelt(needed, "stage", "outputs");
            return rest.first() == Some(&"outputs") && !has_outputs;
        }
        let mut unknown = needs_of(stage).filter(|need| !self.has_stage(need));
        let names = || self.names.iter().map(String::as_str);
        is_misspelt(stage, "stage", "needs")
            || stage["needs"].is_object()
            || unknown.any(|need| need == name || did_you_mean(need, names()) == Some(name))
    }

    /// Whether there is a stage of this name.
    pub(super) fn has_stage(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Whether a map lacks a key because the key is misspelt.
fn is_misspelt(map: &Json, what: &str, key: &str) -> bool {
    let known = || keys_of(what).map(String::as_str);
    let keys = map.as_object().into_iter().flat_map(Map::keys);
    map.get(key).is_none()
        && keys
            .filter(|other| !known().any(|k| k == *other))
            .any(|other| intended_key(what, other, known()) == Some(key))
}

/// Whether an instance of a stage may end in success or warning without outputs: it may be skipped, its program may write
/// none, or its failure may count as a warning.
fn may_lack_outputs(stage: &Json) -> bool {
    stage.get("if").is_some() || stage.get("run").is_some() || stage.get("continue-on-error").is_some()
}

/// The type of a stage in `needs`. The outputs of a stage with a matrix are lists.
///
/// `with_nulls` says whether their items may be `null`: exactly if an instance may end well without outputs, or if the
/// using stage runs whatever the outcome of its needs. Elsewhere `needs.deliver.outputs.object[0].uri` needs no check for
/// null.
fn stage_type(name: &str, stage: &Json, with_nulls: bool) -> Type {
    let outputs = match kind_of(stage) {
        Some(kind) => {
            let definitions = &(kind.outputs)()["definitions"];
            let field = |(name, field): (&String, &Json)| (name.clone(), Type::from_schema(field, definitions));
            entries((kind.outputs)(), "properties").map(field).collect::<Vec<_>>()
        }
        None => {
            let declared = stage["outputs"].as_object().into_iter().flatten();
            declared
                .map(|(name, kind)| {
                    let kind = match kind.as_str() {
                        Some("int") => Type::Int,
                        Some("number") => Type::Double,
                        Some("bool") => Type::Bool,
                        Some("string") => Type::String,
                        _ => Type::Any,
                    };
                    (name.clone(), kind)
                })
                .collect()
        }
    };
    let of_instances = |kind: Type| match (&kind, with_nulls) {
        (Type::Nullable(_) | Type::Any, _) | (_, false) => Type::List(Box::new(kind)),
        _ => Type::List(Box::new(Type::Nullable(Box::new(kind)))),
    };
    let has_instances = stage["strategy"].get("matrix").is_some();
    let outputs = outputs.into_iter().map(|(name, kind)| (name, if has_instances { of_instances(kind) } else { kind }));
    let outputs = Type::record(format!("needs.{name}.outputs"), outputs);
    Type::record(format!("needs.{name}"), [("outputs".to_owned(), outputs), ("result".to_owned(), Type::String)])
}

/// The names in `needs`, which is one name or a list.
pub(super) fn needs_of(stage: &Json) -> impl Iterator<Item = &str> {
    let one = stage["needs"].as_str();
    let many = stage["needs"].as_array().into_iter().flatten().filter_map(Json::as_str);
    one.into_iter().chain(many)
}

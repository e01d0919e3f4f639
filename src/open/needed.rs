//! The secrets that a run needs, known before any is read.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::loaded::Loaded;
use crate::expression::{Expression, Template};
use crate::graph::{Part, Plan};
use crate::pipeline::{Stage, StoreOrChannel, expressions_in, named_in};
use crate::stages;

/// The names of the secrets that expressions use.
pub(crate) fn secrets_in<'a>(values: impl IntoIterator<Item = &'a Json>) -> BTreeSet<String> {
    secrets_of(values.into_iter().flat_map(expressions_in))
}

fn secrets_of(expressions: impl IntoIterator<Item = Expression>) -> BTreeSet<String> {
    let paths = expressions.into_iter().flat_map(|expression| expression.paths());
    let name = |path: Vec<String>| match path.as_slice() {
        [root, name, ..] if root == "secrets" => Some(name.clone()),
        _ => None,
    };
    paths.filter_map(name).collect()
}

/// The secrets that a channel of a file uses.
pub(crate) fn secrets_of_channel(loaded: &Loaded, name: &str) -> BTreeSet<String> {
    loaded.pipeline.channels.get(name).map(|channel| secrets_in(channel.with.values())).unwrap_or_default()
}

/// The secrets that a run needs: those of its stages, of the stores and channels that these name, and of the channels that
/// `notify` names. `stores` are other stores that it needs. `has_effect` says whether an earlier session finished a stage: the
/// run then asks its store whether the object is still there, also when the stage is left out.
pub(crate) fn secrets_of_run(
    loaded: &Loaded,
    plan: &Plan,
    mut stores: BTreeSet<String>,
    has_effect: impl Fn(usize) -> bool,
) -> BTreeSet<String> {
    let mut secrets = BTreeSet::new();
    let mut channels: BTreeSet<String> =
        loaded.pipeline.notify.iter().flat_map(|entry| entry.to.iter().cloned()).collect();
    for (number, planned) in plan.stages.iter().enumerate() {
        let is_selected = planned.part != Part::LeftOut;
        if is_selected {
            secrets.extend(secrets_of_stage(&planned.stage));
            channels.extend(named_by(loaded, &planned.stage, "channel"));
        }
        if is_selected || has_effect(number) {
            stores.extend(named_by(loaded, &planned.stage, "store"));
        }
    }
    let declared = loaded.pipeline.stores.iter().filter(|(name, _)| stores.contains(name.as_str()));
    let declared = declared.chain(loaded.pipeline.channels.iter().filter(|(name, _)| channels.contains(name.as_str())));
    secrets.extend(declared.flat_map(|(_, declared): (_, &StoreOrChannel)| secrets_in(declared.with.values())));
    secrets
}

fn secrets_of_stage(stage: &Stage) -> BTreeSet<String> {
    let matrix = stage.strategy.iter().flat_map(|strategy| strategy.matrix.values());
    let condition = stage.condition.as_deref().and_then(|text| Expression::parse(text, 0).ok());
    let settings = stage.with.values().chain(stage.env.values()).chain(matrix).flat_map(expressions_in);
    secrets_of(settings.chain(condition))
}

/// The stores or channels that a stage may name. An expression there gives an item of the stage's matrix or an input: the
/// checks allow nothing else.
fn named_by(loaded: &Loaded, stage: &Stage, what: &str) -> Vec<String> {
    let Some(kind) = stage.uses.as_deref().and_then(stages::find) else { return Vec::new() };
    let mut named = named_in(&Json::Object(stage.with.clone()), (kind.schema)(), what);
    // An object names its store.
    stage.with.get("object").into_iter().for_each(|object| texts(object, &mut named));
    if !named.iter().any(|text| Template::is_in(text)) {
        return named;
    }
    let matrix = stage.strategy.iter().flat_map(|strategy| strategy.matrix.values());
    matrix.chain(loaded.inputs.values()).for_each(|value| texts(value, &mut named));
    named
}

fn texts(value: &Json, into: &mut Vec<String>) {
    match value {
        Json::String(text) => into.push(text.clone()),
        Json::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Json::Object(map) => map.values().for_each(|item| texts(item, into)),
        _ => {}
    }
}

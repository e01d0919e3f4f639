//! The contract of a run: graph, settings, stores, keys, recipients, removals, locks and notifications.
//!
//! A contract has the layout of the file, so that a difference has a place in it. Values that belong to one run (its id, its
//! time, the outputs of its stages) stay expressions. So do commits and builds, except where they decide which object is
//! written, for whom it is sealed and how it is locked.

use serde_json::{Map, Value as Json, json};

use super::known::{expansion, with_env};
use crate::crypto::parse_recipients;
use crate::diagnostic::Result;
use crate::expression::Values;
use crate::graph::{Plan, Planned};
use crate::open::{Loaded, start_values};
use crate::pipeline::{PartialResolver, SecretPlaceholder};
use crate::stages::StageKind;
use crate::value::Kind;
use crate::{channels, storage, vault};

/// The keys of a file that a contract holds besides stages, stores, channels and secrets.
const RULES: &[&str] = &["name", "defaults", "concurrency", "expect", "policy", "max-parallel", "timeout", "notify"];

/// The key of a stage in a contract that holds the recipients in its file of recipients.
pub(super) const RECIPIENTS: &str = "recipients";

/// The contract of a loaded pipeline. Reads files of recipients but no secret.
pub(super) fn contract(loaded: &Loaded) -> Result<Json> {
    let steady =
        Values::default().with("inputs", Json::Object(loaded.inputs.clone())).with("host", loaded.environment.host());
    let all = start_values(&loaded.inputs, &loaded.environment);
    let file = loaded.document.value();
    let mut contract = Map::new();
    for key in RULES.iter().filter(|key| file.get(**key).is_some()) {
        contract.insert((*key).to_owned(), fill(loaded, &steady, &file[key], &Json::Null, &format!("/{key}")));
    }
    contract.insert(
        "secrets".to_owned(),
        places(loaded, "secrets", &steady, |place| {
            Kind::find(vault::SOURCES, place["from"].as_str()?).map(|kind| (kind.schema)().clone())
        }),
    );
    contract.insert(
        "stores".to_owned(),
        places(loaded, "stores", &all, |place| {
            Kind::find(storage::KINDS, place["uses"].as_str()?).map(|kind| in_with((kind.schema)().clone()))
        }),
    );
    contract.insert(
        "channels".to_owned(),
        places(loaded, "channels", &steady, |place| {
            Kind::find(channels::KINDS, place["uses"].as_str()?).map(|kind| in_with((kind.schema)().clone()))
        }),
    );
    let plan = Plan::new(&loaded.pipeline);
    for (section, is_finally) in [("stages", false), ("finally", true)] {
        let mut stages = Map::new();
        for planned in plan.stages.iter().filter(|planned| planned.is_finally == is_finally) {
            stages.insert(planned.name.clone(), stage(loaded, planned, &steady, &all)?);
        }
        contract.insert(section.to_owned(), Json::Object(stages));
    }
    Ok(Json::Object(contract))
}

fn fill(loaded: &Loaded, values: &Values, value: &Json, schema: &Json, at: &str) -> Json {
    PartialResolver { document: &loaded.document, values, secrets: SecretPlaceholder::Named }
        .resolve(value, schema, at)
        .value
}

/// A schema one level up, for settings below `with`.
fn in_with(mut schema: Json) -> Json {
    let definitions = schema["definitions"].take();
    json!({ "properties": { "with": schema }, "definitions": definitions })
}

fn places(loaded: &Loaded, section: &str, values: &Values, schema: impl Fn(&Json) -> Option<Json>) -> Json {
    let declared = loaded.document.value()[section].as_object().into_iter().flatten();
    let filled = declared.map(|(name, place)| {
        let schema = schema(place).unwrap_or_default();
        (name.clone(), fill(loaded, values, place, &schema, &format!("/{section}/{name}")))
    });
    Json::Object(filled.collect())
}

fn stage(loaded: &Loaded, planned: &Planned, steady: &Values, all: &Values) -> Result<Json> {
    let at = planned.pointer();
    let kind = planned.stage.kind();
    let schema = kind.map_or(Json::Null, |kind| (kind.schema)().clone());
    let mut contract = Map::new();
    for (key, value) in loaded.document.value().pointer(&at).and_then(Json::as_object).into_iter().flatten() {
        let at = format!("{at}/{key}");
        let filled = match key.as_str() {
            "needs" => planned.stage.needs.clone().into(),
            "with" => with(loaded, planned, &schema, steady, all),
            _ => fill(loaded, steady, value, &Json::Null, &at),
        };
        contract.insert(key.clone(), filled);
    }
    let mut each = vec![all.clone()];
    if planned.stage.strategy.is_some() {
        let expanded = expansion(loaded, planned, all)?;
        let instances = expanded.ok().map(|expansion| expansion.instances);
        let matrices = instances.iter().flatten().map(|one| (*one.matrix).clone()).collect::<Vec<_>>();
        if instances.is_some() {
            each = matrices.iter().map(|matrix| all.clone().with("matrix", matrix.clone())).collect();
        }
        contract.insert("instances".to_owned(), instances.map_or(Json::Null, |_| matrices.into()));
    }
    let setting = kind.and_then(StageKind::seals).map(|(_, file)| file);
    if let Some((setting, file)) = setting.and_then(|setting| planned.stage.with.get_key_value(setting)) {
        let whole = json!({ setting.as_str(): file });
        let read = |values: &Values| recipients(&fill(loaded, values, &whole, &schema, &format!("{at}/with"))[setting]);
        contract.insert(RECIPIENTS.to_owned(), each.iter().map(read).collect());
    }
    Ok(Json::Object(contract))
}

/// The settings of a stage. `matrix` stays an expression: the contract lists the instances separately.
fn with(loaded: &Loaded, planned: &Planned, schema: &Json, steady: &Values, all: &Values) -> Json {
    let (steady, all) = (with_env(loaded, planned, steady), with_env(loaded, planned, all));
    let at = format!("{}/with", planned.pointer());
    let mut filled = Map::new();
    for (key, value) in &planned.stage.with {
        // `git` and `ci` are filled in only where they decide what is written, removed, sealed and locked.
        let decides = planned.stage.kind().and_then(|kind| kind.decides(key));
        let values = if decides.is_some() { &all } else { &steady };
        let whole = json!({ key.as_str(): value });
        if let Json::Object(one) = fill(loaded, values, &whole, schema, &at) {
            filled.extend(one);
        }
    }
    Json::Object(filled)
}

/// The recipients in a file; `null` if the file is not known before the run.
fn recipients(file: &Json) -> Json {
    let text = file.as_str().and_then(|path| std::fs::read_to_string(path).ok());
    let recipients = text.and_then(|text| parse_recipients(&text).ok());
    recipients.map_or(Json::Null, |all| all.iter().map(ToString::to_string).collect())
}

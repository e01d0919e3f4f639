//! The plan of one stage.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::known::{expansion, when, with_env};
use super::report::{Instances, StageReport, Unknown, Write};
use super::would_fail::{by_files, by_keys, by_values};
use crate::diagnostic::Result;
use crate::engine::Expansion;
use crate::expression::{Expression, Values, evaluate};
use crate::graph::start::{Known, Obstacle, obstacle};
use crate::graph::{Plan, Planned};
use crate::open::{Loaded, base_of, start_values};
use crate::pipeline::{PartialResolver, PartialSettings, Run, SecretPlaceholder};
use crate::source::{Selection, survey};
use crate::stages::{Delivery, RUN, StageKind, lock_words};
use crate::storage::{self, Store};
use crate::value::Kind;

/// Reports one stage. `skipped` holds the stages before it that would be skipped.
pub(super) fn report(
    loaded: &Loaded,
    state: Option<&Path>,
    plan: &Plan,
    number: usize,
    skipped: &mut HashMap<usize, Obstacle>,
) -> Result<StageReport> {
    let planned = &plan.stages[number];
    let kind = planned.stage.kind();
    let (values, expanded, obstacle) = outlook(loaded, plan, number, skipped)?;
    // In the words of a plan: nothing has happened yet.
    let reason = obstacle.map(|obstacle| match obstacle {
        Obstacle::Need(need, _) => format!("`{}` is skipped", plan.stages[need].name),
        obstacle => obstacle.reason(plan),
    });
    let schema = kind.map_or(&Json::Null, |kind| (kind.schema)());
    let with = known_settings(loaded, planned);
    let writes = match kind.and_then(StageKind::delivery) {
        Some(delivery) => writes(loaded, planned, &values, expanded.as_ref(), (schema, delivery)),
        None => Vec::new(),
    };
    let reads = match selection(loaded, state, planned)?.filter(|_| reason.is_none()) {
        Some(selection) => Some(survey(&selection)?),
        None => None,
    };
    let mut would_fail = Vec::new();
    if reason.is_none() {
        would_fail.extend(by_values(planned, &settings(planned), &values));
        would_fail.extend(by_keys(&writes));
        // `reads` has what a stage that reads files lacks.
        would_fail.extend(if reads.is_none() { by_files(loaded, planned, &with.value) } else { Vec::new() });
    }
    let stream: Vec<String> =
        plan.units[planned.unit].stages.iter().map(|&stage| plan.stages[stage].name.clone()).collect();
    let policy = plan.policy(planned.unit);
    Ok(StageReport {
        name: planned.name.clone(),
        kind: planned.stage.kind_name().to_owned(),
        about: kind.map_or("runs a program", |kind| kind.about).to_owned(),
        finally: planned.is_finally,
        needs: planned.stage.needs.clone(),
        condition: planned.stage.condition.clone(),
        skipped: reason,
        stream: if stream.len() > 1 { stream } else { Vec::new() },
        instances: instances(planned, expanded.as_ref()),
        retry: policy.retry.clone(),
        timeout: policy.timeout,
        on_warning: planned.on_warning,
        continue_on_error: planned.stage.continue_on_error,
        unknown: unknown(&with.unknown),
        with: with.value.as_object().cloned().unwrap_or_default(),
        would_fail,
        reads,
        writes: writes.into_iter().map(|(write, _)| write).collect(),
    })
}

/// The names of the stages that a run with these inputs would skip, as far as that is known.
pub(in crate::inspect) fn skipped(loaded: &Loaded) -> BTreeSet<String> {
    let (plan, mut skipped) = (Plan::new(&loaded.pipeline), HashMap::new());
    for level in plan.levels() {
        for &number in level.iter().flat_map(|&unit| &plan.units[unit].stages) {
            // A matrix that no run could expand is found elsewhere.
            let _unknown = outlook(loaded, &plan, number, &mut skipped);
        }
    }
    skipped.into_keys().map(|number| plan.stages[number].name.clone()).collect()
}

/// The values that are known for a stage, its instances, and what would skip it, which is added to `skipped`.
fn outlook(
    loaded: &Loaded,
    plan: &Plan,
    number: usize,
    skipped: &mut HashMap<usize, Obstacle>,
) -> Result<(Values, Option<Expanded>, Option<Obstacle>)> {
    let planned = &plan.stages[number];
    let start = start_values(&loaded.inputs, &loaded.environment);
    let values = with_env(loaded, planned, &start);
    let expanded = planned.stage.strategy.as_ref().map(|_| expansion(loaded, planned, &start)).transpose()?;
    let obstacle = first_obstacle(plan, number, &values, skipped, expanded.as_ref());
    skipped.extend(obstacle.map(|obstacle| (number, obstacle)));
    Ok((values, expanded, obstacle))
}

/// What a stage that reads files would take; `None` if its settings are not known yet.
pub(super) fn selection(loaded: &Loaded, state: Option<&Path>, planned: &Planned) -> Result<Option<Selection>> {
    let Some(kind) = planned.stage.kind() else { return Ok(None) };
    let with = known_settings(loaded, planned);
    let known = with.unknown.is_empty().then(|| (kind.selection)(with.value, base_of(loaded, planned)));
    let Some(selection) = known.transpose()?.flatten() else { return Ok(None) };
    let values = start_values(&loaded.inputs, &loaded.environment);
    let stores = loaded.pipeline.stores.keys().filter_map(|name| store(loaded, &values, name.as_str()));
    let folders: Vec<PathBuf> = stores.filter_map(|store| store.local_folder().map(Path::to_owned)).collect();
    Ok(Some(selection.without(folders.iter().map(PathBuf::as_path).chain(state))))
}

/// The settings of a stage as far as they are known before a run. Secrets are masked.
pub(in crate::inspect) fn known_settings(loaded: &Loaded, planned: &Planned) -> PartialSettings {
    let values = with_env(loaded, planned, &start_values(&loaded.inputs, &loaded.environment));
    let resolver = PartialResolver { document: &loaded.document, values: &values, secrets: SecretPlaceholder::Hidden };
    let schema = planned.stage.kind().map_or(&Json::Null, |kind| (kind.schema)());
    resolver.resolve(&settings(planned), schema, &format!("{}/with", planned.pointer()))
}

/// All settings of a stage, by their keys in the file.
fn settings(planned: &Planned) -> Json {
    let mut with = match &planned.stage.run {
        Some(Run::Argv(argv)) => Map::from_iter([(RUN.to_owned(), Json::from(argv.clone()))]),
        Some(Run::Script(script)) => Map::from_iter([(RUN.to_owned(), Json::from(script.clone()))]),
        None => planned.stage.with.clone(),
    };
    if !planned.stage.env.is_empty() {
        with.insert("env".to_owned(), Json::Object(planned.stage.env.clone().into_iter().collect()));
    }
    Json::Object(with)
}

type Expanded = std::result::Result<Expansion, Vec<Expression>>;

fn first_obstacle(
    plan: &Plan,
    number: usize,
    values: &Values,
    skipped: &HashMap<usize, Obstacle>,
    expanded: Option<&Expanded>,
) -> Option<Obstacle> {
    let condition = plan.stages[number].condition.as_ref().filter(|condition| values.know(condition));
    let known = Known {
        cancelled: false,
        outcome: &|need| skipped.get(&need).map(|obstacle| obstacle.outcome()),
        // A plan knows of no failure.
        had_instances: &|_| false,
        condition: condition.map(|condition| evaluate(condition, values) != Ok(Json::Bool(false))),
        instances: expanded.and_then(|expanded| Some(expanded.as_ref().ok()?.instances.len())),
    };
    obstacle(plan, number, &known)
}

fn instances(planned: &Planned, expanded: Option<&Expanded>) -> Option<Instances> {
    let strategy = planned.stage.strategy.as_ref()?;
    let (labels, known) = match expanded? {
        Ok(expansion) => (Some(expansion.instances.iter().map(|one| one.label.clone()).collect()), None),
        Err(unknown) => (None, Some(when(unknown))),
    };
    let max_parallel = strategy.max_parallel.map(Into::into);
    Some(Instances { labels, known, fail_fast: strategy.fail_fast, max_parallel })
}

/// Each expression once.
fn unknown(expressions: &[Expression]) -> Vec<Unknown> {
    let mut all: Vec<Unknown> = Vec::new();
    for expression in expressions {
        let known = when(std::slice::from_ref(expression));
        let one = Unknown { expression: expression.source().to_owned(), known };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

/// The objects that a stage would write, each with its key: one, or one for each known instance.
fn writes(
    loaded: &Loaded,
    planned: &Planned,
    values: &Values,
    expanded: Option<&Expanded>,
    (schema, delivery): (&Json, &Delivery),
) -> Vec<(Write, String)> {
    let write = |instance: Option<String>, values: &Values| {
        let values = with_env(loaded, planned, values);
        let resolver =
            PartialResolver { document: &loaded.document, values: &values, secrets: SecretPlaceholder::Hidden };
        let at = format!("{}/with", planned.pointer());
        let with = resolver.resolve(&Json::Object(planned.stage.with.clone()), schema, &at).value;
        let text = |key: &str| with[key].as_str().unwrap_or_default().to_owned();
        let (store, key) = (text(delivery.store), text(delivery.key));
        let given = |setting: Option<&str>| setting.and_then(|setting| with.get(setting));
        let write = Write {
            instance,
            uri: uri(loaded, &values, &store, &key),
            overwrite: given(delivery.overwrite).cloned().unwrap_or(Json::Bool(false)),
            lock: given(delivery.lock).map(lock_words),
            store,
        };
        (write, key)
    };
    match expanded {
        Some(Ok(expansion)) => {
            let known = expansion.instances.iter().filter(|one| !expansion.skipped.contains(&one.number));
            known
                .map(|one| write(Some(one.label.clone()), &values.clone().with("matrix", one.matrix.clone())))
                .collect()
        }
        _ => vec![write(None, values)],
    }
}

/// A store, built from its settings and never contacted. `None` if they are not known or unfit.
fn store(loaded: &Loaded, values: &Values, name: &str) -> Option<Box<dyn Store>> {
    let (_, place) = loaded.pipeline.stores.iter().find(|(other, _)| other.as_str() == name)?;
    let kind = Kind::find(storage::KINDS, &place.uses)?;
    let resolver = PartialResolver { document: &loaded.document, values, secrets: SecretPlaceholder::Hidden };
    let with = Json::Object(place.with.clone());
    let PartialSettings { value, .. } = resolver.resolve(&with, (kind.schema)(), &format!("/stores/{name}/with"));
    (kind.build)(value.into()).ok().filter(|store| store.check().is_empty())
}

/// The URI of an object.
fn uri(loaded: &Loaded, values: &Values, name: &str, key: &str) -> String {
    match (store(loaded, values, name), key.parse()) {
        (Some(store), Ok(key)) => store.uri(&key),
        _ => key.to_owned(),
    }
}

//! What a run would do, without doing any of it.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::prepare::Loaded;
use crate::expression::{Part, Template};
use crate::graph::{Plan, Planned};
use crate::pipeline::Run;
use crate::stages;
use crate::value::MASK;

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// The file as the user named it.
    pub file: String,
    /// The value of each input.
    pub inputs: Map<String, Json>,
    /// Where each secret comes from.
    pub secrets: Vec<String>,
    /// Steps in order; the stages of one step may run at the same time.
    pub steps: Vec<Vec<StageReport>>,
}

/// What a stage would do.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// Its kind, or `run`.
    pub kind: String,
    /// What that does.
    pub about: String,
    /// Whether it stands in `finally`.
    pub finally: bool,
    /// What it waits for.
    pub needs: Vec<String>,
    /// Its `if`.
    pub condition: Option<String>,
    /// The stages that it forms one stream with, in the direction of the data.
    pub stream: Vec<String>,
    /// Its settings: what is known now is filled in, secrets are masked.
    pub with: Map<String, Json>,
}

/// Plans a loaded pipeline. Reads no secret and opens no store.
pub fn plan(loaded: &Loaded) -> PlanReport {
    let plan = Plan::new(&loaded.pipeline);
    let steps = plan.levels().into_iter().map(|level| {
        let stages = level.iter().flat_map(|&unit| &plan.units[unit].stages);
        stages.map(|&stage| report(loaded, &plan, &plan.stages[stage])).collect()
    });
    PlanReport {
        pipeline: loaded.pipeline.name.to_string(),
        file: loaded.document.name().to_owned(),
        inputs: loaded.inputs.clone(),
        secrets: loaded.pipeline.secrets.iter().map(|(name, source)| format!("{name} from {}", source.from)).collect(),
        steps: steps.collect(),
    }
}

fn report(loaded: &Loaded, plan: &Plan, planned: &Planned) -> StageReport {
    let kind = planned.stage.uses.as_deref().and_then(stages::find);
    let mut with = match &planned.stage.run {
        Some(Run::Argv(argv)) => Map::from_iter([("run".to_owned(), Json::from(argv.clone()))]),
        Some(Run::Script(script)) => Map::from_iter([("run".to_owned(), Json::from(script.clone()))]),
        None => planned.stage.with.clone(),
    };
    if !planned.stage.env.is_empty() {
        with.insert("env".to_owned(), Json::Object(planned.stage.env.clone().into_iter().collect()));
    }
    with.values_mut().for_each(|value| fill(value, &loaded.inputs));
    let stream: Vec<String> =
        plan.units[planned.unit].stages.iter().map(|&stage| plan.stages[stage].name.clone()).collect();
    StageReport {
        name: planned.name.clone(),
        kind: kind.map_or("run", |kind| kind.name).to_owned(),
        about: kind.map_or("runs a program", |kind| kind.about).to_owned(),
        finally: planned.is_finally,
        needs: planned.stage.needs.clone(),
        condition: planned.stage.condition.clone(),
        stream: if stream.len() > 1 { stream } else { Vec::new() },
        with,
    }
}

/// Fills in what is known before a run: inputs. A secret is masked, anything else stays as the file has it.
fn fill(value: &mut Json, inputs: &Map<String, Json>) {
    match value {
        Json::String(text) if Template::is_in(text) => {
            let Ok(template) = Template::parse(text) else { return };
            if let [Part::Expression(expression)] = template.parts()
                && let Some(known) = known(expression, inputs)
            {
                *value = known;
                return;
            }
            let parts = template.parts().iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Expression(expression) => match known(expression, inputs) {
                    Some(Json::String(text)) => text,
                    Some(other) => other.to_string(),
                    None => format!("${{{{ {} }}}}", expression.source()),
                },
            });
            *value = parts.collect::<String>().into();
        }
        Json::Array(items) => items.iter_mut().for_each(|item| fill(item, inputs)),
        Json::Object(map) => map.values_mut().for_each(|item| fill(item, inputs)),
        _ => {}
    }
}

fn known(expression: &crate::expression::Expression, inputs: &Map<String, Json>) -> Option<Json> {
    let roots = expression.roots();
    if roots.iter().any(|root| root == "secrets") {
        return Some(MASK.into());
    }
    if roots.iter().any(|root| root != "inputs") {
        return None;
    }
    let values = crate::expression::Values::default().with("inputs", Json::Object(inputs.clone()));
    crate::expression::evaluate(expression, &values).ok()
}

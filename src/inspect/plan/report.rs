use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::stage;
use crate::diagnostic::Result;
use crate::graph::Plan;
use crate::open::Loaded;
use crate::pipeline::{IfBusy, OnWarning, Policy, Retry};
use crate::source::Survey;
use crate::value::{Duration, PositiveDuration, Schedule};

/// The report of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// The file as the user named it.
    pub file: String,
    /// The value of each input.
    pub inputs: Map<String, Json>,
    /// The secrets, each with its source.
    pub secrets: Vec<String>,
    /// How many stages run at the same time, if the file sets it.
    pub max_parallel: Option<u16>,
    /// The time limit of the run.
    pub timeout: Option<PositiveDuration>,
    /// The group of runs of which one runs at a time.
    pub concurrency: Option<Group>,
    /// Its schedule.
    pub schedule: Vec<Due>,
    /// How often a success is due.
    pub success_every: Option<PositiveDuration>,
    /// Its policy.
    pub policy: Vec<String>,
    /// Steps in order; the stages of one step may run at the same time.
    pub steps: Vec<Vec<StageReport>>,
    /// The notifications.
    pub notify: Vec<NotificationPlan>,
}

/// A group of runs of which one runs at a time.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Its name.
    pub group: String,
    /// What happens when another run of it is running: `wait`, `skip` or `fail`.
    pub if_busy: &'static str,
    /// The longest wait.
    pub wait: Option<Duration>,
}

/// A schedule of a pipeline. Nothing starts runs by it yet.
#[derive(Clone, Debug, Serialize)]
pub struct Due {
    /// Its normal form: equal schedules have the same one.
    pub schedule: String,
    /// The schedule in words.
    pub words: String,
    /// The next time, as RFC 3339 with the time zone in brackets.
    pub next: Option<String>,
}

/// One entry of `notify`.
#[derive(Clone, Debug, Serialize)]
pub struct NotificationPlan {
    /// The occasions.
    pub when: Vec<&'static str>,
    /// The channels, each with its kind.
    pub to: Vec<String>,
}

/// The plan of one stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// Its kind, or `run`.
    pub kind: String,
    /// What the kind does.
    pub about: String,
    /// Whether it belongs to `finally`.
    pub finally: bool,
    /// The stages that it needs.
    pub needs: Vec<String>,
    /// Its `if`.
    pub condition: Option<String>,
    /// Why it would be skipped, if that is known.
    pub skipped: Option<String>,
    /// The stages that it forms one stream with, in the direction of the data.
    pub stream: Vec<String>,
    /// Its instances, if it has a matrix.
    pub instances: Option<Instances>,
    /// Its retries. A stream has those of its last stage.
    pub retry: Retry,
    /// The time limit of an attempt.
    pub timeout: Option<PositiveDuration>,
    /// What happens after a warning.
    pub on_warning: OnWarning,
    /// Whether its failure counts as a warning.
    pub continue_on_error: bool,
    /// Its settings with known values filled in and secrets masked.
    pub with: Map<String, Json>,
    /// The expressions without a value yet.
    pub unknown: Vec<Unknown>,
    /// What it would read now, if it reads files and its settings are known.
    pub reads: Option<Survey>,
    /// Why it would fail, as far as that is known. What it reads is not looked through for this: see `reads`.
    pub would_fail: Vec<String>,
    /// The objects that it would write.
    pub writes: Vec<Write>,
}

/// The instances of a stage.
#[derive(Clone, Debug, Serialize)]
pub struct Instances {
    /// The label of each, if they are known.
    pub labels: Option<Vec<String>>,
    /// When they will be known, if they are not.
    pub known: Option<String>,
    /// Whether the failure of one ends the others.
    pub fail_fast: bool,
    /// How many run at the same time.
    pub max_parallel: Option<u16>,
}

/// An expression without a value yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unknown {
    /// The expression.
    pub expression: String,
    /// When it gets one.
    pub known: String,
}

/// An object that would be written.
#[derive(Clone, Debug, Serialize)]
pub struct Write {
    /// The instance that writes it.
    pub instance: Option<String>,
    /// The store.
    pub store: String,
    /// The URI, as far as it is known.
    pub uri: String,
    /// The setting `overwrite`.
    pub overwrite: Json,
    /// Its object lock, with the time from delivery.
    pub lock: Option<String>,
}

/// Plans a loaded pipeline. Reads no secret and opens no store. Fails if every run would: a matrix that is too large, or
/// sources that cannot be archived. `state` is the state folder, which no stage reads.
pub fn plan(loaded: &Loaded, state: Option<&Path>) -> Result<PlanReport> {
    let plan = Plan::new(&loaded.pipeline);
    let pipeline = &loaded.pipeline;
    let mut skipped = HashMap::new();
    let mut steps = Vec::new();
    for level in plan.levels() {
        let stages = level.iter().flat_map(|&unit| &plan.units[unit].stages);
        let report = |&number: &usize| stage::report(loaded, state, &plan, number, &mut skipped);
        steps.push(stages.map(report).collect::<Result<_>>()?);
    }
    Ok(PlanReport {
        pipeline: pipeline.name.to_string(),
        file: loaded.document.name().to_owned(),
        inputs: loaded.inputs.clone(),
        secrets: pipeline.secrets.iter().map(|(name, source)| format!("{name} from {}", source.from)).collect(),
        max_parallel: pipeline.max_parallel.map(Into::into),
        timeout: pipeline.timeout,
        concurrency: pipeline.concurrency.as_ref().map(|shared| Group {
            group: shared.group.clone(),
            if_busy: match shared.if_busy {
                IfBusy::Wait => "wait",
                IfBusy::Skip => "skip",
                IfBusy::Fail => "fail",
            },
            wait: shared.wait,
        }),
        schedule: pipeline.schedule.iter().map(due).collect(),
        success_every: pipeline.expect.as_ref().and_then(|expect| expect.success_every),
        policy: policy(&pipeline.policy),
        steps,
        notify: notification_plans(loaded),
    })
}

fn policy(policy: &Policy) -> Vec<String> {
    let list = |key: &str, names: &Option<Vec<String>>| {
        names
            .as_ref()
            .map(|names| format!("{key}: {}", if names.is_empty() { "none".into() } else { names.join(", ") }))
    };
    let flags = [("require-encryption", policy.require_encryption), ("require-verify", policy.require_verify)];
    let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key.to_owned());
    flags.chain(list("allow-run", &policy.allow_run)).chain(list("allow-stores", &policy.allow_stores)).collect()
}

fn notification_plans(loaded: &Loaded) -> Vec<NotificationPlan> {
    let channels = &loaded.pipeline.channels;
    let named = |name: &String| match channels.iter().find(|(other, _)| other.as_str() == name) {
        Some((_, channel)) => format!("{name} ({})", channel.uses),
        None => name.clone(),
    };
    let rules = loaded.pipeline.notify.iter().map(|rule| NotificationPlan {
        when: rule.when.iter().map(|when| when.word()).collect(),
        to: rule.to.iter().map(named).collect(),
    });
    rules.collect()
}

fn due(schedule: &Schedule) -> Due {
    let next = schedule.next(&jiff::Zoned::now()).map(|next| next.to_string());
    Due { schedule: schedule.normal(), words: schedule.words(), next }
}

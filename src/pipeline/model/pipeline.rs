//! The struct of a pipeline file. Settings of kinds are untyped JSON, since they may hold expressions.

use std::num::NonZeroU16;
use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::notification::Notification;
use super::rules::{Concurrency, Expect, Policy};
use super::strategy::Strategy;
use crate::stages::{self, OutputType, RUN, StageKind};
use crate::value::{Duration, Name, PositiveDuration, Schedule, host_name};

/// The version of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Version;

impl TryFrom<u64> for Version {
    type Error = String;

    fn try_from(version: u64) -> Result<Self, Self::Error> {
        if version == 1 { Ok(Self) } else { Err(format!("version {version} is not 1")) }
    }
}

impl JsonSchema for Version {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "const": 1 })
    }
}

/// A versioned pipeline: what to protect, how, where, and whom to tell.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pipeline {
    /// The version of the language.
    pub version: Version,
    /// Names the pipeline in history, messages and the audit log.
    pub name: Name,
    /// For people.
    pub description: Option<String>,
    /// What the host is called in messages and expressions; by default `TL_HOST`, else its own name. Receivers tell by it which
    /// host an incident, a thread or a monitor is about.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,253}$"))]
    pub host_name: Option<String>,
    /// A file that this one takes over: maps merge deep, lists and scalars replace.
    pub extends: Option<String>,
    /// Values given on the command line: `--input NAME=VALUE`.
    #[serde(default)]
    pub inputs: IndexMap<Name, Input>,
    /// Where each secret comes from; never its value.
    #[serde(default)]
    pub secrets: IndexMap<Name, SecretSource>,
    /// Places that hold objects.
    #[serde(default)]
    pub stores: IndexMap<Name, StoreOrChannel>,
    /// Ways to tell somebody.
    #[serde(default)]
    pub channels: IndexMap<Name, StoreOrChannel>,
    /// What holds for every stage that does not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// What runs that share something do when they meet.
    pub concurrency: Option<Concurrency>,
    /// When it is to run: cron, or a calendar form of systemd; one, or several in a list. Nothing is started by it yet.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "Json", extend("type" = ["string", "array"], "items" = { "type": "string" }, "minItems" = 1))]
    pub schedule: Vec<Schedule>,
    /// How often a success is due.
    pub expect: Option<Expect>,
    /// What the file must hold to, whoever changes it.
    #[serde(default)]
    pub policy: Policy,
    /// How many stages run at the same time; by default, as many as there are cores, at least 2.
    pub max_parallel: Option<NonZeroU16>,
    /// After this the run is ended; `finally` still runs.
    pub timeout: Option<PositiveDuration>,
    /// What is done.
    #[schemars(length(min = 1))]
    pub stages: IndexMap<Name, Arc<Stage>>,
    /// What is done last, whatever happened.
    #[serde(default)]
    pub finally: IndexMap<Name, Arc<Stage>>,
    /// Whom to tell of what.
    #[serde(default)]
    pub notify: Vec<Notification>,
}

impl Pipeline {
    /// What the host is called.
    pub fn host(&self) -> String {
        self.host_name.clone().unwrap_or_else(host_name)
    }
}

/// A value given on the command line.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Input {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: OutputType,
    /// For people.
    pub description: Option<String>,
    /// The values it may have.
    #[serde(rename = "enum")]
    #[schemars(length(min = 1))]
    pub choices: Option<Vec<Json>>,
    /// Its value when none is given; without one it must be given.
    pub default: Option<Json>,
}

/// Where a secret comes from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct SecretSource {
    /// The kind of source.
    pub from: String,
    /// Its settings.
    #[serde(flatten)]
    #[schemars(skip)]
    pub settings: Map<String, Json>,
}

/// A store or a channel.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StoreOrChannel {
    /// Its kind.
    pub uses: String,
    /// Its settings.
    #[serde(default)]
    #[schemars(skip)]
    pub with: Map<String, Json>,
}

/// What holds for every stage that does not say otherwise.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Defaults {
    /// After this an attempt is ended.
    pub timeout: Option<PositiveDuration>,
    /// How often to try.
    pub retry: Option<Retry>,
    /// The outcome that a warning of a stage becomes.
    pub on_warning: Option<OnWarning>,
}

/// The outcome that a warning of a stage becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnWarning {
    /// The stage ends with a warning, and so does the run.
    #[default]
    Warn,
    /// The stage ends as a failure.
    Fail,
    /// The warning is shown, and counts for nothing.
    Ignore,
}

/// How often to try again what may succeed a little later. Only such failures are retried.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Retry {
    /// How often in all, the first time included.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// How long to wait before the second attempt.
    pub delay: Duration,
    /// How much longer each time.
    #[schemars(range(min = 1.0, max = 10.0))]
    pub factor: f64,
    /// The longest wait.
    pub max_delay: Duration,
    /// For `run`: the exit codes that mean "try again".
    #[schemars(inner(range(min = 1, max = 255)))]
    pub exit_codes: Vec<u8>,
}

impl Default for Retry {
    fn default() -> Self {
        let seconds = |seconds| Duration::new(std::time::Duration::from_secs(seconds));
        Self { attempts: 1, delay: seconds(5), factor: 2.0, max_delay: seconds(120), exit_codes: Vec::new() }
    }
}

/// One thing to do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stage {
    /// The stages that must have ended before.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "Json", extend("type" = ["string", "array"], "items" = { "type": "string" }))]
    pub needs: Vec<String>,
    /// An expression without `${{ }}`: the stage is skipped where it is false.
    #[serde(rename = "if")]
    pub condition: Option<String>,
    /// The kind of stage.
    pub uses: Option<String>,
    /// The settings of that kind.
    #[serde(default)]
    #[schemars(skip)]
    pub with: Map<String, Json>,
    /// A program and its arguments, or, with `shell`, a script.
    #[schemars(with = "Json", extend("type" = ["string", "array"], "items" = { "type": "string" }, "minItems" = 1))]
    #[serde(default)]
    pub run: Option<Run>,
    /// The shell that runs the script, such as `sh`.
    #[schemars(regex(pattern = "^[A-Za-z0-9_./-]+$"))]
    pub shell: Option<String>,
    /// Environment variables; secrets may flow here.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = { "type": ["string", "number", "boolean"] }))]
    pub env: IndexMap<String, Json>,
    /// After this an attempt is ended.
    pub timeout: Option<PositiveDuration>,
    /// How often to try.
    pub retry: Option<Retry>,
    /// The outcome that a warning becomes.
    pub on_warning: Option<OnWarning>,
    /// Several instances of it, each with values of its own.
    pub strategy: Option<Box<Strategy>>,
    /// The label of the hosts that may run it.
    pub runs_on: Option<Name>,
    /// Count a failure as a warning: what needs the stage runs.
    #[serde(default)]
    pub continue_on_error: bool,
    // Declared with their types, so that references to them are checked offline like those of any kind.
    /// For `run`: the outputs that it writes to the file named by `$TL_OUTPUT`.
    #[serde(default)]
    pub outputs: IndexMap<Name, OutputType>,
}

impl Stage {
    /// Its kind; none if it runs a program.
    pub fn kind(&self) -> Option<&'static StageKind> {
        stages::find(self.uses.as_deref()?)
    }

    /// The name of its kind, or [`RUN`].
    pub fn kind_name(&self) -> &str {
        self.uses.as_deref().unwrap_or(RUN)
    }
}

/// What a `run` runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Run {
    /// A text for a shell.
    Script(String),
    /// A program and its arguments.
    Argv(Vec<String>),
}

fn one_or_many<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

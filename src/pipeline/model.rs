//! A pipeline as a file spells it, typed. Expressions are still texts; where they stand nothing else is typed.

use std::num::NonZeroU16;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::stages::OutputType;
use crate::value::{Duration, Name};

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
    /// Values given on the command line: `--input NAME=VALUE`.
    #[serde(default)]
    pub inputs: IndexMap<Name, Input>,
    /// Where each secret comes from; never its value.
    #[serde(default)]
    pub secrets: IndexMap<Name, SecretSource>,
    /// Places that hold objects.
    #[serde(default)]
    pub stores: IndexMap<Name, Place>,
    /// Ways to tell somebody.
    #[serde(default)]
    pub channels: IndexMap<Name, Place>,
    /// What holds for every stage that does not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// How many stages run at the same time; by default, as many as there are cores, at least 2.
    pub max_parallel: Option<NonZeroU16>,
    /// After this the run is ended; `finally` still runs.
    pub timeout: Option<Duration>,
    /// What is done.
    #[schemars(length(min = 1))]
    pub stages: IndexMap<Name, Stage>,
    /// What is done last, whatever happened.
    #[serde(default)]
    pub finally: IndexMap<Name, Stage>,
    /// Whom to tell of what.
    #[serde(default)]
    pub notify: Vec<Notification>,
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
pub struct Place {
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
    pub timeout: Option<Duration>,
    /// How often to try.
    pub retry: Option<Retry>,
}

/// How often to try again what may succeed a little later. Only such failures are retried.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
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
    pub timeout: Option<Duration>,
    /// How often to try.
    pub retry: Option<Retry>,
    /// Count a failure as a warning: what needs the stage runs.
    #[serde(default)]
    pub continue_on_error: bool,
    /// For `run`: the outputs that it writes to the file named by `$TL_OUTPUT`.
    #[serde(default)]
    pub outputs: IndexMap<Name, OutputType>,
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

/// Whom to tell of what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Notification {
    /// Of what.
    #[schemars(length(min = 1))]
    pub when: Vec<When>,
    /// The channels, by the names they have in `channels`.
    #[schemars(length(min = 1))]
    pub to: Vec<String>,
    /// A file with a Handlebars template for the text.
    #[schemars(extend("x-tl-type" = "path"))]
    pub template: Option<String>,
    /// A file with a Handlebars template for the same as HTML, for channels that can show it.
    #[schemars(extend("x-tl-type" = "path"))]
    pub template_html: Option<String>,
}

/// What people are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// The run begins.
    Started,
    /// It ended in success.
    Success,
    /// It ended with warnings.
    Warning,
    /// It failed.
    Failure,
    /// There was nothing to do.
    Skipped,
    /// It was cancelled.
    Cancelled,
    /// It could not start.
    Blocked,
    /// It succeeded after it had failed the time before.
    Recovered,
}

impl When {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Blocked => "blocked",
            Self::Recovered => "recovered",
        }
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

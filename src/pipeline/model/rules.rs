//! What holds for runs as a whole: who waits for whom, how often one is due, and what the file must hold to.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::{Duration, Percent, PositiveDuration};

/// What runs that share something do when they meet.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Concurrency {
    /// Of the runs of one group on this machine, one runs at a time.
    #[schemars(regex(pattern = r"\S"))]
    pub group: String,
    /// What to do when another run of the group is running.
    #[serde(default)]
    pub if_busy: IfBusy,
    /// How long to wait at most; by default, as long as it takes.
    pub wait: Option<Duration>,
}

/// What to do when another run of the group is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IfBusy {
    /// Wait for it.
    #[default]
    Wait,
    /// Do nothing: the run counts as skipped.
    Skip,
    /// Do nothing: the run counts as blocked.
    Fail,
}

/// What is expected of the runs of a file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1))]
pub struct Expect {
    /// From one success to the next, no longer than this.
    pub success_every: Option<PositiveDuration>,
    /// A run ends with a warning if its files or bytes differ from the usual ones by more than this.
    pub size_change: Option<Percent>,
}

/// What the file must hold to, whoever changes it. Proven before anything runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Policy {
    /// Each upload takes what an `encrypt` gave.
    pub require_encryption: bool,
    /// Each upload has a `verify` that reads its object.
    pub require_verify: bool,
    /// The programs that may be run; an empty list for none.
    pub allow_run: Option<Vec<String>>,
    /// The stores that stages may use, by the names they have in `stores`.
    pub allow_stores: Option<Vec<String>>,
}

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::jcs;

/// How much a record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As expected.
    Info,
    /// As expected, and somebody may ask for it.
    Notice,
    /// Not as it should be; the work continues.
    Warning,
    /// Failed.
    Error,
    /// Somebody must act now.
    Critical,
}

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// A record before it is written. The log adds the actor, the time and the place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Lower-case words with dots between them, such as `run.started`; at most 64 bytes.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// Strings, integers, booleans, null, arrays and objects with ASCII keys. Secrets are already masked.
    pub data: Map<String, Value>,
}

impl Draft {
    /// A draft without data.
    pub fn new(kind: impl Into<String>, severity: Severity) -> Self {
        Self { kind: kind.into(), severity, run: None, data: Map::new() }
    }

    /// Sets the run.
    #[must_use]
    pub fn run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(run.into());
        self
    }

    /// Adds a member to the data.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.data.insert(key.into(), value.into());
        self
    }
}

/// The process that wrote a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// The machine's name.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// The user's id.
    pub uid: u32,
    /// The user's name, or the id again.
    pub user: String,
}

impl Actor {
    /// This process.
    pub(in crate::audit) fn current() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let user = uzers::get_user_by_uid(uid);
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            uid,
            user: user.map_or_else(|| uid.to_string(), |user| user.name().to_string_lossy().into_owned()),
        }
    }

    /// Its canonical form.
    pub(in crate::audit) fn render(&self) -> Vec<u8> {
        let mut out = b"{\"host\":".to_vec();
        jcs::write_string(&mut out, &self.host);
        out.extend_from_slice(format!(",\"pid\":{},\"uid\":{},\"user\":", self.pid, self.uid).as_bytes());
        jcs::write_string(&mut out, &self.user);
        out.push(b'}');
        out
    }
}

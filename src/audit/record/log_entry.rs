use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::line::{Canonical, Place, encode_line, is_kind, parse_time};
use super::{Actor, Record, Severity};

/// One line of the log. Its type may be one that a newer release added: then [`LogEntry::record`] gives nothing, and the
/// rest can be read all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// The process that wrote it.
    pub actor: Actor,
    /// What happened; its members depend on the type.
    pub data: Map<String, Value>,
    /// The number of the signing key in use; this version has one.
    pub epoch: u64,
    /// The leaf hash of the entry before, in base64. Entry 0 has 32 zero bytes.
    pub prev: String,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// Its number, counted from 0. The order of entries is this, not the time.
    pub seq: u64,
    /// How much it matters.
    #[serde(rename = "sev")]
    pub severity: Severity,
    /// When it was written, by the machine's clock: UTC with milliseconds.
    #[serde(rename = "ts")]
    pub time: String,
    /// Its type, such as `run.started`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of this format: 1.
    pub v: u8,
}

/// Why a line is not an entry.
pub(in crate::audit) enum LineError {
    /// It holds something else.
    Malformed(String),
    /// It holds the right thing in other bytes.
    NotCanonical,
}

impl LogEntry {
    /// Reads a line and accepts only the bytes that a writer writes for the same content. That rules out doubled keys,
    /// other escapes, spaces, and everything else that two parsers could read differently.
    pub(in crate::audit) fn parse(line: &[u8]) -> Result<Self, LineError> {
        let entry: Self = serde_json::from_slice(line).map_err(|e| LineError::Malformed(e.to_string()))?;
        if entry.v != 1 {
            return Err(LineError::Malformed(format!("version {} is not known here", entry.v)));
        }
        if !is_kind(&entry.kind) || parse_time(&entry.time).is_none() {
            return Err(LineError::Malformed("its type or time has another form".to_owned()));
        }
        let data = Canonical::object(&entry.data).map_err(|e| LineError::Malformed(e.to_string()))?;
        let place = Place { actor: &entry.actor.render(), epoch: entry.epoch, prev: &entry.prev, seq: entry.seq };
        let mut again = Vec::with_capacity(line.len());
        let (severity, run) = (entry.severity, entry.run.as_deref());
        encode_line(&mut again, &data, &place, run, severity, &entry.time, &entry.kind);
        if again == line { Ok(entry) } else { Err(LineError::NotCanonical) }
    }

    /// When it was written.
    pub fn timestamp(&self) -> Option<Timestamp> {
        parse_time(&self.time)
    }

    /// What happened, where this release knows the type.
    pub fn record(&self) -> Option<Record> {
        let tagged = serde_json::json!({ "type": self.kind, "data": self.data });
        serde_json::from_value(tagged).ok()
    }
}

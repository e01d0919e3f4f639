use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use super::error::audit_error;
use crate::audit::{Durability, Entry, Log, Severity};
use crate::diagnostic::Result;
use crate::stages::{Checkpoint, Recorder};
use crate::value::Masker;

/// Writes records of a run to the audit log, with secrets masked.
pub(crate) struct LogRecorder {
    log: Log,
    run: Option<String>,
    masker: Masker,
}

impl LogRecorder {
    /// `run` is the run that the records belong to, if any.
    pub(crate) fn new(log: Log, run: Option<&str>, masker: Masker) -> Self {
        Self { log, run: run.map(str::to_owned), masker }
    }

    /// Appends a record without waiting for the disk. A crash may lose it.
    pub(crate) fn note(&self, kind: &str, data: Map<String, Json>) -> Result<()> {
        self.append(kind, Severity::Info, data, Durability::Buffered)
    }

    fn append(&self, kind: &str, severity: Severity, data: Map<String, Json>, durability: Durability) -> Result<()> {
        let mut data = Json::Object(data);
        self.masker.mask_json(&mut data);
        shorten(&mut data);
        let data = match data {
            Json::Object(data) => data,
            _ => Map::new(),
        };
        let entry = Entry { kind: kind.to_owned(), severity, run: self.run.clone(), data };
        self.log.append_with(&[entry], durability).map(drop).map_err(|error| audit_error(&error))
    }
}

/// The longest text in a record, in bytes. A record holds 64 KiB; long output or inputs must not prevent it.
const LONGEST_TEXT: usize = 2_048;

fn shorten(value: &mut Json) {
    match value {
        Json::String(text) if text.len() > LONGEST_TEXT => {
            let whole = text.len();
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            text.push_str(&format!("… ({whole} bytes)"));
        }
        Json::Array(items) => items.iter_mut().for_each(shorten),
        Json::Object(map) => map.values_mut().for_each(shorten),
        _ => {}
    }
}

impl Recorder for LogRecorder {
    fn record(&self, kind: &str, severity: Severity, data: Map<String, Json>) -> Result<()> {
        self.append(kind, severity, data, Durability::Synced)
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let checkpoint = self.log.checkpoint().map_err(|error| audit_error(&error))?;
        Ok(Checkpoint { size: checkpoint.size, root: STANDARD.encode(checkpoint.root), note: checkpoint.note })
    }
}

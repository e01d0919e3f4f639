use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use crate::audit::{self, Durability, Entry, Log, Severity};
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::stages::{Checkpoint, Recorder};
use crate::value::Masker;

/// Writes what a run does to the audit log, without its secrets.
pub(super) struct LogRecorder {
    log: Log,
    run: Option<String>,
    masker: Masker,
}

impl LogRecorder {
    /// `run` is whose records they are, where they are of one.
    pub(super) fn new(log: Log, run: Option<&str>, masker: Masker) -> Self {
        Self { log, run: run.map(str::to_owned), masker }
    }

    /// Records something that need not be on the disk before the work goes on.
    pub(super) fn note(&self, kind: &str, data: Map<String, Json>) -> Result<()> {
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

/// A record has room for 64 KiB. What a child wrote or a user gave must not keep the rest from being recorded.
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

/// What is wrong with the log, and what to do about it.
pub fn audit_error(error: &audit::Error) -> Diagnostic {
    use audit::Error;
    let (code, kind, help) = match error {
        Error::Damaged(_) => (
            codes::TL0701,
            Kind::Audit,
            "nothing is written until somebody decides: `tl audit verify` shows all of it, `tl audit accept --reason …` puts \
             the log aside and begins a new one",
        ),
        Error::Busy { .. } => (codes::TL0702, Kind::Busy, "another process holds the log; try again"),
        Error::ExposedKey { .. } => (codes::TL0703, Kind::Key, "`chmod 600` it, and ask who may have read it"),
        Error::Missing(_) => (codes::TL0704, Kind::Failure, "the first `tl run` begins a log"),
        Error::TooLong { .. } | Error::Data { .. } => {
            (codes::TL0709, Kind::Failure, "shorten the inputs or the names in the file")
        }
        Error::NotDamaged => (codes::TL0705, Kind::Usage, "there is nothing to do"),
        _ => (codes::TL0706, Kind::Failure, "make sure that the state folder is on a disk with room, and writable"),
    };
    let diagnostic = Diagnostic::new(code, kind, error.to_string()).help(help);
    match std::error::Error::source(error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

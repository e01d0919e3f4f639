//! Records the start and the end of a run.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::options::Options;
use crate::audit::{self, Severity};
use crate::diagnostic::Result;
use crate::open::{Loaded, LogRecorder};
use crate::stages::{Checkpoint, Recorder};
use crate::value::{object, sha256};

/// Records that a run started or was resumed.
pub(super) fn begin(loaded: &Loaded, recorder: &LogRecorder, options: &Options) -> Result<()> {
    let mut files = loaded.document.files().map(|(file, text)| json!({ "file": file, "sha256": sha256(text) }));
    let own = files.next().unwrap_or_default();
    let extends: Vec<Json> = files.collect();
    // The log has no floats: few programs agree on how canonical JSON writes them.
    let plain = |value: &Json| if value.is_f64() { value.to_string().into() } else { value.clone() };
    let inputs: Map<String, Json> = loaded.inputs.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    let data = json!({
        "pipeline": loaded.pipeline.name,
        "file": own["file"],
        "file_sha256": own["sha256"],
        "inputs": inputs,
        "version": env!("CARGO_PKG_VERSION"),
    });
    let mut data = object(data);
    if !extends.is_empty() {
        data.insert("extends".to_owned(), extends.into());
    }
    if let Some(plan) = &options.plan {
        data.insert("plan_sha256".to_owned(), plan.as_str().into());
    }
    match &options.resumed {
        Some(left) => {
            data.insert("session".to_owned(), options.session().into());
            let kind = if has_started(&options.state.audit(), &left.start.run) { "run.resumed" } else { "run.started" };
            recorder.record(kind, Severity::Info, data)
        }
        None => recorder.record("run.started", Severity::Info, data),
    }
}

/// Whether the start of a run is on record. A run in the journal may have been killed before its record.
fn has_started(log: &Path, run: &str) -> bool {
    let (kind, run) = (Some("run.started".to_owned()), Some(run.to_owned()));
    let filter = audit::Filter { kind, run, ..audit::Filter::default() };
    audit::read(log, filter).is_ok_and(|mut records| records.any(|record| record.is_ok()))
}

/// Records the end and signs the log. If signing fails, a further record says so.
pub(super) fn sign_end(recorder: &LogRecorder, severity: Severity, data: Json) -> Result<Checkpoint> {
    recorder.record("run.finished", severity, object(data))?;
    recorder.checkpoint().inspect_err(|problem| {
        let data = json!({ "error": problem.one_line() });
        // The log has just failed and may fail again. The exit code reports it anyway.
        let _unrecorded = recorder.record("run.unsigned", Severity::Error, object(data));
    })
}

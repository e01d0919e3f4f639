//! Records the start and the end of a run.

use std::path::Path;
use std::str::FromStr as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

use super::options::Options;
use crate::audit::{self, ExtendedFile, Record, RunEnd, RunStart};
use crate::diagnostic::Result;
use crate::open::{Loaded, LogRecorder};
use crate::stages::{Checkpoint, Recorder};
use crate::value::sha256;

/// Records that a run started or was resumed.
pub(super) fn begin(loaded: &Loaded, recorder: &LogRecorder, options: &Options) -> Result<()> {
    let mut files = loaded.document.files();
    let (file, text) = files.next().unwrap_or_default();
    let extended = |(file, text): (&str, &str)| ExtendedFile { file: file.to_owned(), sha256: sha256(text) };
    // The log has no floats: canonical JSON writes them in a way that few programs agree on.
    let plain = |value: &Json| if value.is_f64() { value.to_string().into() } else { value.clone() };
    let start = Box::new(RunStart {
        pipeline: loaded.pipeline.name.to_string(),
        file: file.to_owned(),
        file_sha256: sha256(text),
        extends: files.map(extended).collect(),
        inputs: loaded.inputs.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        plan_sha256: options.plan.clone(),
        session: options.resumed.as_ref().map(|_| options.session()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    match &options.resumed {
        // The first session whose start is on record is the start of the run, whatever its number.
        Some(left) if has_started(&options.state.audit(), &left.start.run) => {
            recorder.record(Record::RunResumed(start))
        }
        _ => recorder.record(Record::RunStarted(start)),
    }
}

/// How far the clock may have been set back since a run began, for its start to be found.
const CLOCK_SET_BACK: SignedDuration = SignedDuration::from_hours(24);

/// Whether the start of a run is on record. A run that is in the journal may have been killed before that.
fn has_started(log: &Path, run: &str) -> bool {
    let began = ulid::Ulid::from_str(run).ok().and_then(|id| i64::try_from(id.timestamp_ms()).ok());
    let began = began.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let filter = audit::Filter {
        kind: Some("run.started".to_owned()),
        run: Some(run.to_owned()),
        since: began.and_then(|began| began.checked_sub(CLOCK_SET_BACK).ok()),
        ..audit::Filter::default()
    };
    audit::read_backwards(log, filter).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok()))
}

/// Records the end of a session and signs it. Where the signature fails, a second record says so.
pub(super) fn sign_end(recorder: &LogRecorder, end: RunEnd) -> Result<Checkpoint> {
    recorder.record(Record::RunFinished(end))?;
    recorder.checkpoint().inspect_err(|problem| {
        // The log has just failed: it may well fail again, and the exit code tells all the same.
        let _unrecorded = recorder.record(Record::RunUnsigned { error: problem.one_line() });
    })
}

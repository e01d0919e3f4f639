//! Aborts open uploads of files that are gone and of pipelines that were renamed. No run of them will.

use serde::Deserialize as _;

use super::uploads::named;
use crate::audit::{Log, Record};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::inspect::OrphanedUpload;
use crate::open::{
    Contexts, LogRecorder, RunEnvironment, audit_error, database_error, input_texts, inputs_of, last_good_of,
    open_store, read_needed, run_values, runs_of, secrets_in, settle_with,
};
use crate::stages::{OpenDelivery, Recorder as _};
use crate::state::StateDir;
use crate::value::{Cancel, Masker};

/// Aborts these uploads, each by the last text with which its pipeline ran. Returns how many, and why others are still open.
pub(crate) fn abort_orphans(state: &StateDir, orphans: &[OrphanedUpload]) -> Result<(usize, Vec<Diagnostic>)> {
    if orphans.is_empty() {
        return Ok((0, Vec::new()));
    }
    let log = Log::open(&state.audit()).map_err(|error| audit_error(&error))?;
    let recorder = LogRecorder::new(log, None, Masker::default());
    let (mut aborted, mut problems) = (0, Vec::new());
    for orphan in orphans {
        match abort(state, orphan, &recorder) {
            Ok(()) => aborted += 1,
            Err(found) => {
                let message =
                    format!("the open upload of `{}`, of the run `{}`, is not aborted", orphan.uri, orphan.run);
                let mut problem = Diagnostic::warning(codes::TL0659, message).help(
                    "mend the cause and try again, or abort it with the tools of the store: it costs what it holds",
                );
                problem.causes.extend(found.iter().map(Diagnostic::one_line));
                problems.push(problem);
            }
        }
    }
    if aborted > 0 {
        recorder.checkpoint()?;
    }
    Ok((aborted, problems))
}

fn abort(state: &StateDir, orphan: &OrphanedUpload, recorder: &LogRecorder) -> Result<(), Vec<Diagnostic>> {
    let failed = |message: &str| vec![Diagnostic::failure(codes::TL0659, message)];
    let row = &orphan.row;
    let open = OpenDelivery::deserialize(&row.upload.upload).map_err(|_| failed("its journal entry cannot be read"))?;
    let Some((checked, _)) = last_good_of(state, &row.file, Some(&row.pipeline)) else {
        return Err(failed("no text of its pipeline is kept here that reads today"));
    };
    let inputs = inputs_of(&checked.1, &runs_of(state, &row.file).unwrap_or_default())?;
    let environment = RunEnvironment::read(&checked.0).map_err(|error| vec![error])?;
    let loaded = settle_with(checked, &row.file, &input_texts(&inputs), environment)?;
    let Some((name, place)) = loaded.pipeline.stores.iter().find(|(name, _)| name.as_str() == open.store) else {
        return Err(failed("the last text of its pipeline has no such store"));
    };
    let needed = secrets_in([&loaded.document.value()["stores"][name.as_str()]]);
    let secrets = read_needed(&loaded.document, &loaded.pipeline, &needed, &Cancel::default());
    if !secrets.missing.is_empty() {
        return Err(secrets.missing);
    }
    let now = jiff::Zoned::now();
    let contexts = Contexts::new(&loaded, &secrets.known, run_values(&row.pipeline, &row.upload.run, &now));
    let one = |error: Diagnostic| vec![error];
    let store = open_store(&loaded, &contexts, name.as_str(), place, Some(recorder)).map_err(one)?;
    let key = open.key.parse().map_err(|_| failed("its key is none"))?;
    if store.uri(&key) != orphan.uri {
        return Err(failed("the store of that name was another place then"));
    }
    store.abort(&key, &open.upload).map_err(|error| one(error.into()))?;
    recorder.record(Record::UploadAborted(named(&row.upload, &open))).map_err(one)?;
    state.forget_upload(&row.upload).map_err(|error| one(database_error(&error)))
}

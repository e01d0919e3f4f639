//! Messages about a file that no longer reads, or about inputs that it does not take: nothing could start, and the channels are those
//! of the last good text.

use std::path::Path;

use super::delivery::RunNotifier;
use super::direct::{blocked, deliver, full, last_used, once_an_hour, send_blocked};
use super::outbox::OutboxHandle;
use crate::audit::{Log, Record, RunEnd};
use crate::diagnostic::{Diagnostic, Result};
use crate::event::{Outcome, What};
use crate::open::{
    Contexts, Loaded, LogRecorder, audit_error, database_error, for_messages, inputs_of, last_good, open_channels,
    read_needed, run_values, runs_of, secrets_of_channel,
};
use crate::pipeline::{self, When};
use crate::stages::Recorder as _;
use crate::state::StateDir;
use crate::value::Cancel;

/// Records that a run could not begin and sends `blocked`, if a run of this file ever began. Returns the file as its channels were
/// read, for the journal, and what became of each message. Nothing here changes the exit code.
pub(crate) fn send_unread(
    state: &StateDir,
    file: &Path,
    run: &str,
    found: &[Diagnostic],
    emit: &mut dyn FnMut(What),
) -> Option<Loaded> {
    let Some((kept, version)) = last_good(state, file) else {
        // Without its database nobody knows whom to tell.
        if let Err(error) = state.runs() {
            emit(What::Problem { error: database_error(&error).as_warning() });
        }
        return None;
    };
    // With a wrong input, the file itself may be fine.
    let checked = pipeline::load(file).unwrap_or(kept);
    let runs = runs_of(state, file).unwrap_or_default();
    let inputs = inputs_of(&checked.1, &runs).unwrap_or_default();
    let loaded = for_messages(checked, file, inputs).ok()?;
    let mut errors: Vec<String> = found.iter().map(full).collect();
    errors.push(last_used(file, &version));
    match Log::open(&state.audit()).map_err(|error| audit_error(&error)) {
        Ok(log) => {
            if let Err(problem) = recorded(state, &loaded, log, run, found, &errors, emit) {
                emit(What::Problem { error: problem.as_warning() });
            }
        }
        // The messages go out all the same, and nothing is written.
        Err(problem) => {
            errors.push(full(&problem));
            let news = blocked(&loaded, &errors);
            once_an_hour(state, &loaded, When::Blocked, found, &mut |channels| {
                deliver(&loaded, (run, run), &news, channels, emit)
            });
        }
    }
    Some(loaded)
}

/// Records the end, sends the messages through the outbox, and signs.
fn recorded(
    state: &StateDir,
    loaded: &Loaded,
    log: Log,
    run: &str,
    found: &[Diagnostic],
    errors: &[String],
    emit: &mut dyn FnMut(What),
) -> Result<()> {
    let (document, pipeline) = (&loaded.document, &loaded.pipeline);
    let entries = || pipeline.notify.iter().enumerate().filter(|(_, entry)| entry.when.contains(&When::Blocked));
    let needed = entries().flat_map(|(_, entry)| &entry.to).flat_map(|name| secrets_of_channel(loaded, name)).collect();
    let secrets = read_needed(document, pipeline, &needed, &Cancel::default());
    secrets.missing.iter().for_each(|error| emit(What::Problem { error: error.clone() }));
    let recorder = std::sync::Arc::new(LogRecorder::new(log, Some(run), secrets.masker().clone()));
    recorder.record(Record::RunFinished(RunEnd {
        pipeline: pipeline.name.to_string(),
        outcome: Outcome::Blocked.word().to_owned(),
        exit_code: None,
        errors: Some(errors.to_vec()),
        left_out: Vec::new(),
        counts: None,
    }))?;
    let contexts = Contexts::new(loaded, &secrets.known, run_values(pipeline.name.as_str(), run, &jiff::Zoned::now()));
    let notifier = RunNotifier {
        channels: open_channels(loaded, &contexts, &*recorder),
        outbox: OutboxHandle::new(state.clone()),
        recorder: recorder.clone(),
        masker: secrets.masker().clone(),
        file: loaded.path.clone(),
        inputs: loaded.inputs.clone(),
    };
    let news = blocked(loaded, errors);
    send_blocked(state, loaded, &notifier, (run, run), &news, found, emit);
    recorder.checkpoint().map(drop)
}

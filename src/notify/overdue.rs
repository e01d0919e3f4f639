//! Messages about overdue pipelines.

use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::delivery::outbox_message;
use super::direct::{deliver, once_an_hour};
use super::message::{Origin, message};
use super::messages::{Flushed, flush};
use crate::diagnostic::{Diagnostic, codes};
use crate::event::What;
use crate::inspect::Stale;
use crate::open::{
    Loaded, News, database_error, for_messages, inputs_of, last_good, lateness, place_of, read_secrets, runs_of,
    state_error,
};
use crate::pipeline::{self, Document, Outline, When};
use crate::state::{DbError, OutboxMessage, StateDir};
use crate::value::{Cancel, hex};

/// Puts a message into the outbox for each overdue pipeline whose file asks for it, once for each due time that has passed.
/// Then sends all due messages.
///
/// The messages and the mark for the due time are one transaction, before anything is sent: no crash loses a message, and two
/// processes do not write it twice. The outbox deduplicates the sending.
///
/// If the outbox or the audit log cannot be written, the messages are sent directly, once an hour.
pub(crate) fn send_overdue(state: &StateDir, found: &[Stale], now: Timestamp) -> Result<Flushed, Vec<Diagnostic>> {
    through_outbox(state, found, now).map_err(|mut problems| {
        for stale in found.iter().filter(|stale| stale.is_stale) {
            let sent = directly(state, stale, now, &mut problems);
            sent.unwrap_or_else(|found| problems.push(not_sent(stale, &found)));
        }
        problems
    })
}

fn through_outbox(state: &StateDir, found: &[Stale], now: Timestamp) -> Result<Flushed, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    for stale in found.iter().filter(|stale| stale.is_stale) {
        match put(state, stale, now) {
            Ok(()) => {}
            Err(OverdueError::Pipeline(found)) => problems.push(not_sent(stale, &found)),
            Err(OverdueError::State(error)) => return Err(vec![error]),
        }
    }
    let mut flushed = flush(state, false)?;
    flushed.problems.splice(0..0, problems);
    Ok(flushed)
}

/// Sends the messages about a late pipeline past the outbox. Adds what was not delivered to `problems`.
fn directly(
    state: &StateDir,
    late: &Stale,
    now: Timestamp,
    problems: &mut Vec<Diagnostic>,
) -> Result<(), Vec<Diagnostic>> {
    let file = Path::new(&late.file);
    let checked = checked(state, file)?;
    let runs = runs_of(state, file).unwrap_or_default();
    let inputs = inputs_of(&checked.1, &runs)?;
    let loaded = for_messages(checked, file, inputs)?;
    let (news, id) = (news(&loaded, late, now), id(&loaded, late));
    let cause = Diagnostic::failure(codes::TL0764, id.clone());
    once_an_hour(state, &loaded, When::Stale, &[cause], &mut |channels| {
        let about = runs.first().map_or("", |run| &run.id);
        deliver(&loaded, (&id, about), &news, channels, &mut |what| {
            if let What::Message { error: Some(error), .. } = what {
                problems.push(error);
            }
        })
    });
    Ok(())
}

/// Why no message about an overdue pipeline was written.
enum OverdueError {
    /// Findings in the pipeline. Messages about others are still possible.
    Pipeline(Vec<Diagnostic>),
    /// The state folder fails, for every pipeline.
    State(Diagnostic),
}

impl From<Vec<Diagnostic>> for OverdueError {
    fn from(found: Vec<Diagnostic>) -> Self {
        Self::Pipeline(found)
    }
}

impl From<DbError> for OverdueError {
    fn from(error: DbError) -> Self {
        Self::State(database_error(&error))
    }
}

/// A file, or its last good text where it does not read.
fn checked(state: &StateDir, file: &Path) -> Result<(Document, Outline), Vec<Diagnostic>> {
    pipeline::load(file).or_else(|found| last_good(state, file).map(|(kept, _)| kept).ok_or(found))
}

fn put(state: &StateDir, late: &Stale, now: Timestamp) -> Result<(), OverdueError> {
    let file = Path::new(&late.file);
    let checked = checked(state, file)?;
    if !checked.1.notify.iter().any(|entry| entry.when.contains(&When::Stale)) {
        return Ok(());
    }
    state.create().map_err(|error| OverdueError::State(state_error(&error)))?;
    let mut outbox = state.outbox()?;
    let (place, due) = (place_of(file), late.due.as_deref().unwrap_or_default());
    // Checked before secrets are read, because that may run programs. `put_late` checks again, against concurrent callers.
    if outbox.has_told_late(&place, due)? {
        return Ok(());
    }
    let runs = runs_of(state, file)?;
    let inputs = inputs_of(&checked.1, &runs)?;
    let loaded = for_messages(checked, file, inputs)?;
    let messages = messages(&loaded, late, runs.first().map_or("", |run| &run.id), now).map_err(|error| vec![error])?;
    Ok(outbox.put_late(&place, due, &messages)?)
}

/// A message for each channel of each entry that asks for it.
fn messages(loaded: &Loaded, stale: &Stale, run: &str, now: Timestamp) -> Result<Vec<OutboxMessage>, Diagnostic> {
    let (document, pipeline) = (&loaded.document, &loaded.pipeline);
    // Missing secrets are reported when the channels are opened.
    let secrets = read_secrets(document, pipeline, &Cancel::default());
    let masker = secrets.masker();
    let (news, id) = (news(loaded, stale, now), id(loaded, stale));
    let origin = Origin { id: &id, run, masker };
    let mut messages = Vec::new();
    for (number, entry) in pipeline.notify.iter().enumerate().filter(|(_, entry)| entry.when.contains(&When::Stale)) {
        let message = message(&origin, &news, number, When::Stale).map_err(|mut error| {
            error.mask(&|text| masker.mask(text));
            error
        })?;
        let to = |channel: &String| outbox_message(channel, &message, &loaded.path, &loaded.inputs, masker);
        messages.extend(entry.to.iter().map(to));
    }
    Ok(messages)
}

fn news<'a>(loaded: &'a Loaded, stale: &Stale, now: Timestamp) -> News<'a> {
    let due = stale.due.as_ref().and_then(|due| due.parse::<Timestamp>().ok());
    let late = lateness(
        &stale.success_every.map(|every| every.to_string()).unwrap_or_default(),
        stale.last_success.as_deref(),
        stale.due.as_deref(),
        due.map(|due| now.duration_since(due).as_secs_f64()),
    );
    News { stale: Some(late), ..News::of(When::Stale, &loaded.document, &loaded.pipeline) }
}

/// The id of the messages about a late pipeline.
fn id(loaded: &Loaded, stale: &Stale) -> String {
    format!("{}.{}", loaded.pipeline.name, fingerprint(&place_of(&loaded.path), stale.due.as_deref()))
}

/// Identifies a due time of a file. Several files may share a pipeline name and a due time.
fn fingerprint(place: &Path, due: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(place.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(due.unwrap_or_default());
    let mut text = hex(&hash.finalize());
    text.truncate(16);
    text
}

fn not_sent(stale: &Stale, found: &[Diagnostic]) -> Diagnostic {
    let name = stale.pipeline.as_ref().unwrap_or(&stale.file);
    let mut told =
        Diagnostic::warning(codes::TL0676, format!("nobody is told that `{name}` has not succeeded in time"))
            .help("mend it: the next `tl stale --notify` tells of it");
    told.causes.extend(found.iter().map(Diagnostic::one_line));
    told
}

//! Aborts open uploads that no run will resume.

use std::collections::HashSet;
use std::sync::Mutex;

use serde::Deserialize as _;

use super::event_sink::{EventSink, emit};
use super::work::PipelineWork;
use crate::audit::{Record, UploadRef};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::What;
use crate::open::database_error;
use crate::stages::{OpenDelivery, Recorder as _};
use crate::state::{StateDir, UnfinishedUpload};
use crate::storage::Store;

/// Aborts the open uploads of earlier runs of the file, which this run replaces.
pub(super) fn abort_superseded(work: &PipelineWork, state: &StateDir, sink: &Mutex<EventSink>) {
    abort_uploads(work, state, sink, |left| left.run != work.shared.run && !left.is_at_work);
}

/// Aborts the open uploads of a successful run that no stage claimed: the stage was removed, or delivers something else
/// now.
pub(super) fn abort_unclaimed(work: &PipelineWork, state: &StateDir, sink: &Mutex<EventSink>) {
    abort_uploads(work, state, sink, |left| left.run == work.shared.run);
}

fn abort_uploads(
    work: &PipelineWork,
    state: &StateDir,
    sink: &Mutex<EventSink>,
    is_meant: impl Fn(&UnfinishedUpload) -> bool,
) {
    let warn = |warning| emit(sink, What::Problem { error: warning });
    // The journal has already reported an error of the database.
    let Ok(all) = state.unfinished_uploads(&work.shared.pipeline, &work.loaded.path) else { return };
    let mut unreachable = HashSet::new();
    for left in all.iter().filter(|left| is_meant(left)) {
        let Ok(open) = OpenDelivery::deserialize(&left.upload) else { continue };
        let about = |why: &str| {
            let UnfinishedUpload { run, uri, .. } = left;
            let message =
                format!("the multipart upload {} of `{uri}`, which the run `{run}` left open, {why}", open.upload.id);
            Diagnostic::warning(codes::TL0659, message)
        };
        if work.shared.places.unopened.contains(&open.store) {
            continue;
        }
        let Some(store) = store_of(work, left, &open) else {
            warn(
                about("is of a store that this file does not name any more")
                    .help("abort it with the tools of the store: it costs what it holds, and tl forgets it now"),
            );
            // Recorded in the audit log as well: nobody may read the report of this run, and the upload costs money.
            match work.recorder.record(Record::UploadAbandoned(named(left, &open))) {
                Ok(()) => forget(state, left, sink),
                Err(error) => warn(error.as_warning()),
            }
            continue;
        };
        // Each call waits for the store. A store that does not answer delays the run only once.
        if unreachable.contains(&open.store) {
            warn(about("was not taken back: its store did not take back another one").help(LATER));
            continue;
        }
        match abort(work, store, left, &open) {
            Ok(()) => forget(state, left, sink),
            Err(error) => {
                unreachable.insert(open.store.clone());
                let mut warning = about("could not be taken back").help(LATER);
                warning.causes.push(error.one_line());
                warn(warning);
            }
        }
    }
}

const LATER: &str = "the next run tries again; it costs what it holds until then";

/// The store of an upload, if the file still names the same store.
fn store_of<'a>(work: &'a PipelineWork, left: &UnfinishedUpload, open: &OpenDelivery) -> Option<&'a dyn Store> {
    let store = work.shared.places.stores.get(&open.store)?.as_ref();
    let key = open.key.parse().ok()?;
    (store.uri(&key) == left.uri).then_some(store)
}

fn abort(work: &PipelineWork, store: &dyn Store, left: &UnfinishedUpload, open: &OpenDelivery) -> Result<()> {
    let key = open.key.parse().map_err(|_| Diagnostic::failure(codes::TL0637, "the key is none"))?;
    store.abort(&key, &open.upload)?;
    work.recorder.record(Record::UploadAborted(named(left, open)))
}

/// An upload as audit records name it.
pub(super) fn named(left: &UnfinishedUpload, open: &OpenDelivery) -> UploadRef {
    UploadRef { uri: left.uri.clone(), upload: open.upload.id.clone(), of: left.run.clone() }
}

fn forget(state: &StateDir, left: &UnfinishedUpload, sink: &Mutex<EventSink>) {
    if let Err(error) = state.forget_upload(left) {
        emit(sink, What::Problem { error: database_error(&error).as_warning() });
    }
}

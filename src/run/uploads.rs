//! Uploads that were left open to be gone on with, and that nobody will go on with.

use std::collections::HashSet;
use std::sync::Mutex;

use serde::Deserialize as _;

use super::keeper::database_error;
use super::teller::{Teller, tell};
use super::work::PipelineWork;
use crate::audit::{Record, UploadRef};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::What;
use crate::stages::{OpenDelivery, Recorder as _};
use crate::state::{StateDir, UploadLeft};
use crate::storage::Store;

/// Takes back what earlier runs of the file left open: this one has taken their place.
pub(super) fn take_back_of_others(work: &PipelineWork, state: &StateDir, teller: &Mutex<Teller>) {
    take_back(work, state, teller, |left| left.run != work.shared.run && !left.is_at_work);
}

/// Takes back what earlier sessions of a run that ended well left open, and no stage of it asked for: its stage is gone, or
/// delivers something else by now.
pub(super) fn take_back_of_own(work: &PipelineWork, state: &StateDir, teller: &Mutex<Teller>) {
    take_back(work, state, teller, |left| left.run == work.shared.run);
}

fn take_back(work: &PipelineWork, state: &StateDir, teller: &Mutex<Teller>, is_meant: impl Fn(&UploadLeft) -> bool) {
    let warn = |warning| tell(teller, What::Problem { error: warning });
    // That the database does not work, the journal has told.
    let Ok(all) = state.uploads_left(&work.shared.pipeline, &work.loaded.path) else { return };
    let mut silent = HashSet::new();
    for left in all.iter().filter(|left| is_meant(left)) {
        let Ok(open) = OpenDelivery::deserialize(&left.upload) else { continue };
        let told = |why: &str| {
            let UploadLeft { run, uri, .. } = left;
            let message =
                format!("the multipart upload {} of `{uri}`, which the run `{run}` left open, {why}", open.upload.id);
            Diagnostic::warning(codes::TL0659, message)
        };
        let Some(store) = place_of(work, left, &open) else {
            warn(
                told("is of a store that this file does not name any more")
                    .help("abort it with the tools of the store: it costs what it holds, and tl forgets it now"),
            );
            // On record: who reads this run's report may be nobody.
            match work.recorder.record(Record::UploadAbandoned(named(left, &open))) {
                Ok(()) => forget(state, left, teller),
                Err(error) => warn(error.as_warning()),
            }
            continue;
        };
        // Each call waits: a store that does not answer holds up a run once.
        if silent.contains(&open.store) {
            warn(told("was not taken back: its store did not take back another one").help(LATER));
            continue;
        }
        match closed(work, store, left, &open) {
            Ok(()) => forget(state, left, teller),
            Err(error) => {
                silent.insert(open.store.clone());
                let mut warning = told("could not be taken back").help(LATER);
                warning.causes.push(error.one_line());
                warn(warning);
            }
        }
    }
}

const LATER: &str = "the next run tries again; it costs what it holds until then";

/// The store of an upload, if it is still the one that it was begun in.
fn place_of<'a>(work: &'a PipelineWork, left: &UploadLeft, open: &OpenDelivery) -> Option<&'a dyn Store> {
    let store = work.shared.places.stores.get(&open.store)?.as_ref();
    let key = open.key.parse().ok()?;
    (store.uri(&key) == left.uri).then_some(store)
}

fn closed(work: &PipelineWork, store: &dyn Store, left: &UploadLeft, open: &OpenDelivery) -> Result<()> {
    let key = open.key.parse().map_err(|_| Diagnostic::failure(codes::TL0637, "the key is none"))?;
    store.close(&key, &open.upload)?;
    work.recorder.record(Record::UploadAborted(named(left, open)))
}

/// An upload as records name it.
fn named(left: &UploadLeft, open: &OpenDelivery) -> UploadRef {
    UploadRef { uri: left.uri.clone(), upload: open.upload.id.clone(), of: left.run.clone() }
}

fn forget(state: &StateDir, left: &UploadLeft, teller: &Mutex<Teller>) {
    if let Err(error) = state.forget_upload(left) {
        tell(teller, What::Problem { error: database_error(&error).as_warning() });
    }
}

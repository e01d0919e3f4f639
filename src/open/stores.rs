//! Opens the stores of a pipeline.

use std::sync::Arc;

use super::contexts::Contexts;
use super::kind::{Opening, Section, open, unfit};
use super::loaded::Loaded;
use crate::diagnostic::Result;
use crate::pipeline::StoreOrChannel;
use crate::stages::{Places, Recorder};
use crate::storage::{self, Store};
use crate::value::Unfit;

/// Opens every store, except those that need a secret which this run did not read.
pub(crate) fn open_places(loaded: &Loaded, contexts: &Contexts, recorder: &dyn Recorder) -> Result<Places> {
    let mut places = Places::default();
    for (name, place) in &loaded.pipeline.stores {
        if contexts.can_open(place) {
            let store = open_store(loaded, contexts, name.as_str(), place, Some(recorder))?;
            places.stores.insert(name.to_string(), store);
        } else {
            places.unopened.insert(name.to_string());
        }
    }
    Ok(places)
}

/// Opens one store. `recorder` puts the secrets that it uses on record; a probe has none.
pub(crate) fn open_store(
    loaded: &Loaded,
    contexts: &Contexts,
    name: &str,
    place: &StoreOrChannel,
    recorder: Option<&dyn Recorder>,
) -> Result<Arc<dyn Store>> {
    let opening = Opening { section: Section::Stores, name, declared: place, recorder };
    let store = open(loaded, contexts, &opening, storage::KINDS)?;
    // `validate` has checked what stands in the file; expressions have their values only now.
    match store.check().into_iter().next() {
        None => Ok(store.into()),
        Some(Unfit { error, .. }) => {
            let mut unfit = unfit(loaded, "stores", name);
            unfit.causes.push(error);
            Err(unfit)
        }
    }
}

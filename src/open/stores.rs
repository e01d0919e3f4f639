//! Opens the stores of a pipeline.

use super::contexts::Contexts;
use super::kind::{Opening, Section, open};
use super::loaded::Loaded;
use std::sync::Arc;

use crate::diagnostic::Result;
use crate::pipeline::StoreOrChannel;
use crate::stages::{Places, Recorder};
use crate::storage::{self, Store};

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
    open(loaded, contexts, &Opening { section: Section::Stores, name, declared: place, recorder }, storage::KINDS)
        .map(Arc::from)
}

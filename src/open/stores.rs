//! Opens the stores of a pipeline.

use std::sync::Arc;

use super::contexts::Contexts;
use super::kind::{open, unfit};
use super::loaded::Loaded;
use crate::diagnostic::Result;
use crate::pipeline::StoreOrChannel;
use crate::stages::Places;
use crate::storage::{self, Store};
use crate::value::Unfit;

/// Opens every store.
pub(crate) fn open_places(loaded: &Loaded, contexts: &Contexts) -> Result<Places> {
    let mut places = Places::default();
    for (name, place) in &loaded.pipeline.stores {
        places.stores.insert(name.to_string(), open_store(loaded, contexts, name.as_str(), place)?);
    }
    Ok(places)
}

/// Opens one store.
pub(crate) fn open_store(
    loaded: &Loaded,
    contexts: &Contexts,
    name: &str,
    place: &StoreOrChannel,
) -> Result<Arc<dyn Store>> {
    let store = open(loaded, contexts, "stores", name, place, storage::KINDS)?;
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

//! Opens the stores of a pipeline.

use super::contexts::Contexts;
use super::kind::open;
use super::loaded::Loaded;
use std::sync::Arc;

use crate::diagnostic::Result;
use crate::pipeline::StoreOrChannel;
use crate::stages::Places;
use crate::storage::{self, Store};

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
    open(loaded, contexts, "stores", name, place, storage::KINDS).map(Arc::from)
}

//! The journal of unfinished deliveries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::diagnostic::Result;
use crate::open::unwritten;
use crate::stages::{Deliveries, OpenDelivery, Unfinished};
use crate::state::{DeliveryStep, Journal, PriorRun};
use crate::storage::PendingObject;

/// The unfinished deliveries of a run, from earlier sessions and from earlier attempts of this one.
pub(super) struct DeliveryJournal {
    journal: Option<Arc<Journal>>,
    left: Mutex<HashMap<String, Unfinished>>,
}

impl DeliveryJournal {
    pub(super) fn new(journal: Option<Arc<Journal>>, left: Option<&PriorRun>) -> Self {
        let deliveries = left.into_iter().flat_map(|left| &left.deliveries);
        let unfinished = deliveries.filter_map(|delivery| {
            let since = delivery.began.parse().ok()?;
            let coming = read(delivery.coming.as_ref()).unwrap_or_default();
            let open = read::<OpenDelivery>(delivery.upload.as_ref()).map(|open| open.upload);
            let disproved = read(delivery.disproved.as_ref()).unwrap_or_default();
            Some((delivery.uri.clone(), Unfinished { since, coming, disproved, open }))
        });
        Self { journal, left: Mutex::new(unfinished.collect()) }
    }

    /// Changes the state of an object: in the journal first, so that a crash never leaves more in a store than it says.
    fn update(&self, uri: &str, change: impl FnOnce(&mut Unfinished) -> DeliveryStep) -> Result<()> {
        let now = Timestamp::now();
        let new = || Unfinished { since: now, coming: Vec::new(), disproved: Vec::new(), open: None };
        let mut known = self.left(uri).unwrap_or_else(new);
        let step = change(&mut known);
        if let Some(journal) = &self.journal {
            journal.deliver(uri, step).map_err(|error| unwritten(&error))?;
        }
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(uri.to_owned(), known);
        Ok(())
    }
}

impl Deliveries for DeliveryJournal {
    fn begun(&self, uri: &str) -> Result<()> {
        self.update(uri, |known| {
            // `coming` stays: an object of an earlier attempt may still appear.
            known.since = Timestamp::now();
            DeliveryStep::Begun
        })
    }

    fn opened(&self, uri: &str, open: &OpenDelivery) -> Result<()> {
        self.update(uri, |known| {
            known.open = Some(open.upload.clone());
            DeliveryStep::Opened(json(open))
        })
    }

    fn closed(&self, uri: &str) -> Result<()> {
        if self.left(uri).is_none_or(|known| known.open.is_none()) {
            return Ok(());
        }
        self.update(uri, |known| {
            known.open = None;
            DeliveryStep::Closed
        })
    }

    fn are_kept(&self) -> bool {
        self.journal.is_some()
    }

    fn pending(&self, uri: &str, pending: &PendingObject) -> Result<()> {
        self.update(uri, |known| {
            // Earlier objects stay in the list: until this one appears, one of them may be in the store.
            known.coming.retain(|earlier| (&earlier.token, earlier.digest) != (&pending.token, pending.digest));
            known.coming.push(pending.clone());
            DeliveryStep::Coming(json(&known.coming))
        })
    }

    fn disproved(&self, uri: &str) -> Result<()> {
        self.update(uri, |known| {
            known.disproved = std::mem::take(&mut known.coming);
            DeliveryStep::Disproved
        })
    }

    fn left(&self, uri: &str) -> Option<Unfinished> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).get(uri).cloned()
    }
}

fn json(value: &impl Serialize) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}

/// The value of a column; none if another release wrote it in another form.
fn read<T: DeserializeOwned>(column: Option<&Json>) -> Option<T> {
    column.and_then(|value| serde_json::from_value(value.clone()).ok())
}

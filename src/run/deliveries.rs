//! What becomes of objects on their way, in the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::work::unwritten;
use crate::diagnostic::Result;
use crate::stages::{Deliveries, OpenDelivery, Unfinished};
use crate::state::{DeliveryStep, Journal, PriorRun};
use crate::storage::Coming;

/// What is known of objects on their way: from earlier sessions of the run, and from earlier attempts of this one.
pub(super) struct OnTheirWay {
    journal: Option<Arc<Journal>>,
    left: Mutex<HashMap<String, Unfinished>>,
}

impl OnTheirWay {
    pub(super) fn new(journal: Option<Arc<Journal>>, left: Option<&PriorRun>) -> Self {
        let deliveries = left.into_iter().flat_map(|left| &left.deliveries);
        let unfinished = deliveries.filter_map(|delivery| {
            let since = delivery.began.parse().ok()?;
            let coming = read(delivery.coming.as_ref()).unwrap_or_default();
            let open = read::<OpenDelivery>(delivery.upload.as_ref()).map(|open| open.upload);
            Some((delivery.uri.clone(), Unfinished { since, coming, open }))
        });
        Self { journal, left: Mutex::new(unfinished.collect()) }
    }

    /// Puts down what changes of an object: first in the journal, then for the next attempt of this session.
    fn put_down(&self, uri: &str, change: impl FnOnce(&mut Unfinished) -> DeliveryStep) -> Result<()> {
        let now = Timestamp::now();
        let new = || Unfinished { since: now, coming: Vec::new(), open: None };
        let mut known = self.left(uri).unwrap_or_else(new);
        let step = change(&mut known);
        if let Some(journal) = &self.journal {
            journal.deliver(uri, step).map_err(|error| unwritten(&error))?;
        }
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(uri.to_owned(), known);
        Ok(())
    }
}

impl Deliveries for OnTheirWay {
    fn begun(&self, uri: &str) -> Result<()> {
        self.put_down(uri, |known| {
            // An object of an earlier attempt may still be there.
            known.since = Timestamp::now();
            DeliveryStep::Begun
        })
    }

    fn opened(&self, uri: &str, open: &OpenDelivery) -> Result<()> {
        self.put_down(uri, |known| {
            known.open = Some(open.upload.clone());
            DeliveryStep::Opened(json(open))
        })
    }

    fn closed(&self, uri: &str) -> Result<()> {
        if self.left(uri).is_none_or(|known| known.open.is_none()) {
            return Ok(());
        }
        self.put_down(uri, |known| {
            known.open = None;
            DeliveryStep::Closed
        })
    }

    fn are_kept(&self) -> bool {
        self.journal.is_some()
    }

    fn coming(&self, uri: &str, coming: &Coming) -> Result<()> {
        self.put_down(uri, |known| {
            // Until this one appears, that of an earlier attempt is still there.
            known.coming.retain(|earlier| (&earlier.token, earlier.digest) != (&coming.token, coming.digest));
            known.coming.push(coming.clone());
            DeliveryStep::Coming(json(&known.coming))
        })
    }

    fn left(&self, uri: &str) -> Option<Unfinished> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).get(uri).cloned()
    }
}

fn json(value: &impl Serialize) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}

/// What a column holds, if it is what this release writes.
fn read<T: DeserializeOwned>(column: Option<&Json>) -> Option<T> {
    column.and_then(|value| serde_json::from_value(value.clone()).ok())
}

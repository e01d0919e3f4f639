//! What becomes of objects on their way, in the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::work::unwritten;
use crate::diagnostic::Result;
use crate::stages::{Deliveries, Unfinished};
use crate::state::{Journal, Left};
use crate::storage::Coming;

/// What is known of objects on their way: from earlier sessions of the run, and from earlier attempts of this one.
pub(super) struct OnTheirWay {
    journal: Option<Arc<Journal>>,
    left: Mutex<HashMap<String, Unfinished>>,
}

impl OnTheirWay {
    pub(super) fn new(journal: Option<Arc<Journal>>, left: Option<&Left>) -> Self {
        let deliveries = left.into_iter().flat_map(|left| &left.deliveries);
        let unfinished = deliveries.filter_map(|delivery| {
            let since = delivery.began.parse().ok()?;
            let coming = delivery.coming.as_ref().and_then(|coming| serde_json::from_value(coming.clone()).ok());
            Some((delivery.uri.clone(), Unfinished { since, coming }))
        });
        Self { journal, left: Mutex::new(unfinished.collect()) }
    }

    fn put_down(&self, uri: &str, coming: Option<&Coming>) -> Result<()> {
        if let Some(journal) = &self.journal {
            let coming = coming.map(|coming| serde_json::to_value(coming).unwrap_or_default());
            journal.deliver(uri, coming).map_err(|error| unwritten(&error))?;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        let known = left.entry(uri.to_owned()).or_insert(Unfinished { since: now, coming: None });
        match coming {
            // An object of an earlier attempt may still be there.
            None => known.since = now,
            Some(coming) => known.coming = Some(coming.clone()),
        }
        Ok(())
    }
}

impl Deliveries for OnTheirWay {
    fn begun(&self, uri: &str) -> Result<()> {
        self.put_down(uri, None)
    }

    fn coming(&self, uri: &str, coming: &Coming) -> Result<()> {
        self.put_down(uri, Some(coming))
    }

    fn left(&self, uri: &str) -> Option<Unfinished> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).get(uri).cloned()
    }
}

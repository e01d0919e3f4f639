use crate::diagnostic::Result;
use crate::stages::{Deliveries, Unfinished};
use crate::storage::Coming;

/// Keeps nothing of what becomes of objects on their way: no run can be resumed yet.
pub(super) struct NotKept;

impl Deliveries for NotKept {
    fn begun(&self, _uri: &str) -> Result<()> {
        Ok(())
    }

    fn coming(&self, _uri: &str, _coming: &Coming) -> Result<()> {
        Ok(())
    }

    fn left(&self, _uri: &str) -> Option<Unfinished> {
        None
    }
}

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Why a task is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// A person or a signal asked for it.
    Requested,
    /// The stage's `timeout` passed.
    StageTimeout,
    /// The run's `timeout` passed.
    RunTimeout,
    /// Another instance of the stage failed, and the stage says `fail-fast`.
    Sibling,
}

/// Asks a task to stop. Blocking code checks it at every block, async code awaits it. The first reason stays.
///
/// Clones share one state: cancelling one cancels all.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<watch::Sender<Option<CancelReason>>>);

impl Default for Cancel {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Cancel {
    /// Cancels, unless it is cancelled already.
    pub fn cancel(&self, reason: CancelReason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(reason);
            first
        });
    }

    /// Why it was cancelled; `None` while it is not.
    pub fn reason(&self) -> Option<CancelReason> {
        *self.0.borrow()
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Fails if it is cancelled.
    pub fn check(&self) -> Result<(), CancelReason> {
        self.reason().map_or(Ok(()), Err)
    }

    /// Does blocking work with a cancel that follows this one and is cancelled with `RunTimeout` after `limit`. Needs a tokio
    /// runtime, whose other threads keep the time.
    pub fn limited<T>(&self, limit: Option<Duration>, work: impl FnOnce(&Self) -> T) -> T {
        let Some(limit) = limit else { return work(self) };
        let (outer, limited) = (self.clone(), Self::default());
        let inner = limited.clone();
        let timer = tokio::spawn(async move {
            limited.cancel(tokio::select! {
                reason = outer.cancelled() => reason,
                () = tokio::time::sleep(limit) => CancelReason::RunTimeout,
            });
        });
        let result = work(&inner);
        timer.abort();
        result
    }

    /// Waits until it is cancelled; returns the reason.
    pub async fn cancelled(&self) -> CancelReason {
        let mut receiver = self.0.subscribe();
        loop {
            if let Some(reason) = *receiver.borrow_and_update() {
                return reason;
            }
            if receiver.changed().await.is_err() {
                // `self` holds the sender, so it is never dropped while somebody waits here.
                std::future::pending::<()>().await;
            }
        }
    }
}

use std::sync::Arc;

use tokio::sync::watch;

use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::storage::Stopped;

/// Why work is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for it.
    Cancelled,
    /// The stage's time is over.
    StageTimeout,
    /// The run's time is over.
    RunTimeout,
    /// Another instance of the stage failed, and `fail-fast` ends all.
    Sibling,
}

impl Stop {
    /// The error that a stopped stage ends with.
    pub fn diagnostic(self) -> Diagnostic {
        match self {
            Self::Cancelled => Diagnostic::new(codes::TL0601, Kind::Cancelled, "cancelled"),
            Self::Sibling => Diagnostic::new(codes::TL0603, Kind::Cancelled, "another instance of this stage failed"),
            Self::StageTimeout => {
                Diagnostic::new(codes::TL0602, Kind::TimedOut, "the stage ran longer than its `timeout`")
            }
            Self::RunTimeout => {
                Diagnostic::new(codes::TL0602, Kind::TimedOut, "the run took longer than its `timeout`")
            }
        }
    }
}

/// Tells work to stop: blocking code asks at every block, waiting code waits. The first reason stays.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<watch::Sender<Option<Stop>>>);

impl Default for Cancel {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Cancel {
    /// Tells it.
    pub fn stop(&self, reason: Stop) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(reason);
            first
        });
    }

    /// Why to stop, if so.
    pub fn reason(&self) -> Option<Stop> {
        *self.0.borrow()
    }

    /// For a store, which knows nothing of stages.
    pub fn as_question(&self) -> Stopped {
        let cancel = self.clone();
        Arc::new(move || cancel.reason().is_some())
    }

    /// Fails once it is told.
    pub fn check(&self) -> Result<(), Diagnostic> {
        self.reason().map_or(Ok(()), |reason| Err(reason.diagnostic()))
    }

    /// Waits until it is told.
    pub async fn stopped(&self) -> Stop {
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

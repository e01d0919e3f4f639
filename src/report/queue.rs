use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::reporter::Reporter;
use crate::diagnostic::Diagnostic;
use crate::event::{Event, What};

/// Shows events on a thread of its own, so that a pager, or a terminal that was stopped, does not hold up the run.
///
/// What nobody reads must not fill the memory either: while too much is waiting, progress and the output of children are
/// left out, and how many lines were is said at the end. Everything else is always shown.
pub struct Queue {
    events: Sender<Event>,
    waiting: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<Box<dyn Reporter>>,
}

/// So many events may wait.
const MOST_WAITING: u64 = 10_000;
/// How long nothing must happen before the reporter draws anew.
const IDLE: Duration = Duration::from_millis(120);

impl Queue {
    /// Starts the thread.
    pub fn start(mut reporter: Box<dyn Reporter>) -> Self {
        let (events, incoming): (Sender<Event>, Receiver<Event>) = channel();
        let waiting = Arc::<AtomicU64>::default();
        let taken = Arc::clone(&waiting);
        let thread = thread::spawn(move || {
            loop {
                match incoming.recv_timeout(IDLE) {
                    Ok(event) => {
                        reporter.event(&event);
                        taken.fetch_sub(1, Ordering::Relaxed);
                    }
                    Err(RecvTimeoutError::Timeout) => reporter.pause(),
                    Err(RecvTimeoutError::Disconnected) => return reporter,
                }
            }
        });
        Self { events, waiting, dropped: Arc::default(), thread }
    }

    /// What takes the events. Never waits.
    pub fn sink(&self) -> impl FnMut(&Event) + Send + use<> {
        let (events, waiting, dropped) = (self.events.clone(), Arc::clone(&self.waiting), Arc::clone(&self.dropped));
        move |event| {
            let droppable = matches!(event.what, What::StageOutput { .. } | What::StageProgress { .. });
            if droppable && waiting.load(Ordering::Relaxed) >= MOST_WAITING {
                if matches!(event.what, What::StageOutput { .. }) {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
            waiting.fetch_add(1, Ordering::Relaxed);
            // The thread ends only after this queue does.
            let _gone = events.send(event.clone());
        }
    }

    /// Waits until all is shown; returns how many lines of children were not, and what could not be written.
    pub fn finish(self) -> (u64, Option<Diagnostic>) {
        drop(self.events);
        let lost = self.thread.join().ok().and_then(|reporter| reporter.lost());
        (self.dropped.load(Ordering::Relaxed), lost)
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::reporter::Reporter;
use crate::diagnostic::Diagnostic;
use crate::event::{Event, What};

/// Shows events on its own thread, so that a pager or a stopped terminal does not hold up the run.
///
/// Memory is bounded, too. While too many events wait, progress and the output of children are dropped; the dropped lines
/// are counted and the count is shown at the end. Everything else is always shown.
pub struct Queue {
    events: Sender<Event>,
    waiting: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<Box<dyn Reporter>>,
}

/// How many events may wait before some are dropped.
const MOST_WAITING: u64 = 10_000;
/// How long to wait for an event before the reporter may redraw.
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

    /// The function that takes the events. It never blocks.
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

    /// Waits until everything is shown. Returns how many lines of children were dropped, and the error of a report file.
    pub fn finish(self) -> (u64, Option<Diagnostic>) {
        drop(self.events);
        let lost = self.thread.join().ok().and_then(|reporter| reporter.lost());
        (self.dropped.load(Ordering::Relaxed), lost)
    }
}

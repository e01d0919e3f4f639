use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A queue between threads that do things and one thread that writes them down. The writer takes all that waits at once,
/// so that many entries share the cost of one write.
///
/// What nobody waits for may rest until something urgent comes, or for 20 milliseconds. Then a program that does many
/// short things does not wake the writer for each of them.
pub struct BatchQueue<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

/// How long an entry that is not urgent may rest.
const REST: Duration = Duration::from_millis(20);

struct Waiting<T> {
    entries: Vec<T>,
    is_urgent: bool,
    is_closed: bool,
}

impl<T> Default for BatchQueue<T> {
    fn default() -> Self {
        let waiting = Waiting { entries: Vec::new(), is_urgent: false, is_closed: false };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }
}

impl<T> fmt::Debug for BatchQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchQueue").field("waiting", &self.lock().entries.len()).finish()
    }
}

impl<T> BatchQueue<T> {
    /// Adds an entry that nobody waits for. It is dropped where the queue is closed.
    pub fn push(&self, entry: T) {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return;
        }
        waiting.entries.push(entry);
        if waiting.entries.len() == 1 {
            self.changed.notify_one();
        }
    }

    /// Adds an entry that somebody waits for: the writer takes it, and all before it, at once. It is dropped where the
    /// queue is closed.
    pub fn push_urgent(&self, entry: T) {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return;
        }
        waiting.entries.push(entry);
        waiting.is_urgent = true;
        self.changed.notify_one();
    }

    /// Lets the writer end once it has written what waits.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Writes all entries, in the order in which they were added, until the queue is closed and empty.
    pub fn work(&self, mut write: impl FnMut(Vec<T>)) {
        let _end = End(self);
        while let Some(entries) = self.take() {
            write(entries);
        }
    }

    fn take(&self) -> Option<Vec<T>> {
        let waiting = self.lock();
        let is_idle = |waiting: &mut Waiting<T>| waiting.entries.is_empty() && !waiting.is_closed;
        let waiting = self.changed.wait_while(waiting, is_idle).unwrap_or_else(PoisonError::into_inner);
        let may_rest = |waiting: &mut Waiting<T>| !waiting.is_urgent && !waiting.is_closed;
        let rested = self.changed.wait_timeout_while(waiting, REST, may_rest);
        let (mut waiting, _) = rested.unwrap_or_else(PoisonError::into_inner);
        waiting.is_urgent = false;
        let entries = std::mem::take(&mut waiting.entries);
        (!entries.is_empty()).then_some(entries)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what waits when the writer ends, also by a panic: whoever waits for an answer must not wait for ever.
struct End<'a, T>(&'a BatchQueue<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_closed = true;
        waiting.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn all_is_taken_in_order_and_what_is_urgent_does_not_rest() {
        let queue = BatchQueue::default();
        queue.push(1);
        queue.push(2);
        queue.push_urgent(3);
        assert_eq!(queue.take(), Some(vec![1, 2, 3]));
        thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take());
            queue.push(4);
            assert!(taken.join().unwrap().is_some_and(|taken| taken == [4]));
        });
        queue.push(5);
        queue.close();
        queue.push(6);
        assert_eq!((queue.take(), queue.take()), (Some(vec![5]), None));
    }

    #[test]
    fn a_writer_that_panics_leaves_nobody_waiting() {
        let queue = BatchQueue::default();
        let (done, answer) = std::sync::mpsc::channel::<()>();
        queue.push_urgent(done.clone());
        thread::scope(|scope| {
            let writer = scope.spawn(|| queue.work(|_| panic!("as it should")));
            assert!(writer.join().is_err());
        });
        queue.push_urgent(done);
        assert!(answer.recv().is_err());
    }
}

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use tracing::{Span, debug};

use super::record::Prepared;
use super::{Checkpoint, Draft, Durability, Error, Interrupted, Log, Record};
use crate::value::{BatchQueue, Masker};

/// Writes records on a thread of its own. All that waits becomes one batch: one lock, one write, one sync.
///
/// Records of all callers have one order, and those of one caller are in its order. [`Recorder::record`] returns when its
/// record, and all that was recorded or noted before it, is on the disk. [`Recorder::note`] only queues, so its caller
/// never waits for the disk or for another process that holds the log; a crash may lose the notes of the last
/// milliseconds.
///
/// Secrets are masked and long texts are shortened before a record is queued: the queue holds finished bytes.
pub struct Recorder {
    log: Arc<Log>,
    run: Option<String>,
    masker: Masker,
    queue: Arc<BatchQueue<Request>>,
    refused: Refused,
    thread: Option<JoinHandle<()>>,
}

/// Errors are shared: one batch may fail for many callers.
pub type RecordError = Arc<Error>;

/// Why the last note was not written, until somebody asks.
type Refused = Arc<Mutex<Option<RecordError>>>;

enum Request {
    Note(Prepared),
    Record(Prepared, Sender<Result<(), RecordError>>),
    Sign(Sender<Result<Checkpoint, RecordError>>),
}

impl Recorder {
    /// A recorder whose records belong to `run`, if there is one.
    pub fn new(log: Log, run: Option<&str>, masker: Masker) -> Self {
        let (log, queue, refused) = (Arc::new(log), Arc::<BatchQueue<Request>>::default(), Refused::default());
        let writer = Writer { log: Arc::clone(&log), refused: Arc::clone(&refused), unwritten: Vec::new() };
        let (requests, span) = (Arc::clone(&queue), Span::current());
        let thread = thread::spawn(move || span.in_scope(|| writer.work(&requests)));
        Self { log, run: run.map(str::to_owned), masker, queue, refused, thread: Some(thread) }
    }

    /// Writes a record. Returns when it, and all that was noted before it, is on the disk.
    pub fn record(&self, record: Record) -> Result<(), RecordError> {
        let prepared = self.prepare(record)?;
        self.wait(|done| Request::Record(prepared, done))
    }

    /// Queues a record for the next batch. An error is about this record; [`Recorder::refused`] tells what the log said.
    pub fn note(&self, record: Record) -> Result<(), RecordError> {
        self.queue.push(Request::Note(self.prepare(record)?));
        Ok(())
    }

    /// Why notes could not be written, if so; told once. They stay queued and are tried again with the next batch.
    pub fn refused(&self) -> Option<RecordError> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Signs the log with all that was recorded and noted before.
    pub fn checkpoint(&self) -> Result<Checkpoint, RecordError> {
        self.wait(Request::Sign)
    }

    fn prepare(&self, mut record: Record) -> Result<Prepared, RecordError> {
        record.mask(&self.masker);
        let Draft { kind, severity, data, .. } = record.into();
        let mut data = Value::Object(data);
        shorten(&mut data);
        let Value::Object(data) = data else { unreachable!("an object stays one when its texts change") };
        Ok(self.log.prepare(&Draft { kind, severity, run: self.run.clone(), data })?)
    }

    fn wait<T>(&self, request: impl FnOnce(Sender<Result<T, RecordError>>) -> Request) -> Result<T, RecordError> {
        let (done, result) = channel();
        self.queue.push_urgent(request(done));
        // The thread answers every request, unless it panicked.
        result.recv().unwrap_or_else(|_| Err(Arc::new(Error::Stopped)))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // What was noted last is written before the thread ends.
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

struct Writer {
    log: Arc<Log>,
    refused: Refused,
    /// Notes that were refused. A later record must not be acknowledged without them.
    unwritten: Vec<Prepared>,
}

impl Writer {
    fn work(mut self, queue: &BatchQueue<Request>) {
        queue.work(|requests| {
            let mut batch = Batch::default();
            for request in requests {
                match request {
                    Request::Note(note) => batch.push(note, None),
                    Request::Record(record, done) => batch.push(record, Some(done)),
                    Request::Sign(done) => {
                        let result = self.write(std::mem::take(&mut batch));
                        let signed = result.and_then(|()| self.log.checkpoint().map_err(Arc::new));
                        answer(&done, signed);
                    }
                }
            }
            // Each waiter has its own answer.
            let _told = self.write(batch);
        });
    }

    /// Writes what was refused before and a batch, and answers those who wait for it.
    fn write(&mut self, batch: Batch) -> Result<(), RecordError> {
        let mut records: Vec<Prepared> = std::mem::take(&mut self.unwritten);
        let earlier = records.len();
        let Batch { records: new, waiters } = batch;
        records.extend(new);
        if records.is_empty() {
            return Ok(());
        }
        let durability = if waiters.is_empty() { Durability::Buffered } else { Durability::Synced };
        let result = self.log.append(&records, durability);
        debug!(records = records.len(), waiters = waiters.len(), written = result.is_ok(), "audit batch");
        let Err(Interrupted { written, error }) = result else {
            waiters.iter().for_each(|(_, done)| answer(done, Ok(())));
            return Ok(());
        };
        let error = Arc::new(error);
        let is_waited_for = |at: usize| waiters.iter().any(|(waiter, _)| earlier + waiter == at);
        let lost = records.into_iter().enumerate().skip(written);
        self.unwritten = lost.filter(|(at, _)| !is_waited_for(*at)).map(|(_, note)| note).collect();
        if !self.unwritten.is_empty() {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&error));
        }
        waiters.iter().for_each(|(_, done)| answer(done, Err(Arc::clone(&error))));
        Err(error)
    }
}

/// Records for one append, and who waits for which of them.
#[derive(Default)]
struct Batch {
    records: Vec<Prepared>,
    waiters: Vec<(usize, Sender<Result<(), RecordError>>)>,
}

impl Batch {
    fn push(&mut self, record: Prepared, waiter: Option<Sender<Result<(), RecordError>>>) {
        self.waiters.extend(waiter.map(|waiter| (self.records.len(), waiter)));
        self.records.push(record);
    }
}

fn answer<T>(waiter: &Sender<Result<T, RecordError>>, result: Result<T, RecordError>) {
    // The waiter is gone only when its thread is.
    let _gone = waiter.send(result);
}

/// A line has room for 64 KiB. What a child wrote or a user gave must not keep the rest from being recorded.
const LONGEST_TEXT: usize = 2_048;

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LONGEST_TEXT => {
            let whole = text.len();
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            text.push_str(&format!("… ({whole} bytes)"));
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(map) => map.values_mut().for_each(shorten),
        _ => {}
    }
}

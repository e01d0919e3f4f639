//! Batches of chunks flow from a reader through workers to a writer, in order and in constant memory.
//!
//! ```text
//!            work                 finished
//! reader ────────────▶ workers ────────────▶ writer
//!    ▲                                          │
//!    └───────────────── empty buffers ──────────┘
//! ```
//!
//! The number of buffers is fixed. It bounds the queue, the reorder window and the memory. The reader numbers batches in
//! the order in which it takes buffers, so the batch that the writer waits for always has a buffer. Nothing can wait for a
//! buffer that only a later batch would free: there is no deadlock.
//!
//! Each of the three ends when its channel closes. One that fails drops its ends of the channels, and the others end too.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

use super::error::Error;

/// The plaintext of a full chunk, in bytes.
pub(super) const CHUNK: usize = 64 * 1024;
/// The tag of a chunk, in bytes.
pub(super) const TAG: usize = 16;
/// A sealed chunk, in bytes.
pub(super) const SLOT: usize = CHUNK + TAG;
/// The chunks of one batch: 1 MiB of plaintext.
pub(super) const CHUNKS: usize = 16;
/// A sealed batch, in bytes.
pub(super) const BATCH: usize = CHUNKS * SLOT;

/// The batches that wait for a worker, are being filled, or are held back until it is known whether they are the last.
const QUEUE: usize = 4;

/// One mebibyte of the stream. Exactly one thread owns it at a time.
pub(super) struct Batch {
    index: u64,
    /// [`CHUNKS`] slots of [`SLOT`] bytes. The reader fills the first `piece` bytes of each slot.
    pub(super) buffer: Vec<u8>,
    /// How many bytes the reader filled, without the gaps between slots.
    pub(super) filled: usize,
    /// Whether the input ends with this batch.
    pub(super) last: bool,
}

impl Batch {
    /// The number of its first chunk in the stream.
    pub(super) fn first_chunk(&self) -> u64 {
        self.index * CHUNKS as u64
    }
}

/// The result of a worker for one batch.
pub(super) struct Outcome {
    /// How many bytes to write, from the start of the buffer.
    pub(super) written: usize,
    pub(super) end: End,
}

/// The state of the stream after a batch.
pub(super) enum End {
    /// More batches must follow.
    More,
    /// The stream must end here.
    Final,
    /// The stream is damaged after the bytes to write.
    Failed(Error),
}

/// How many bytes were read and written.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) read: u64,
    pub(super) written: u64,
    ended: bool,
}

/// Work on a batch, with a buffer of the worker's own that it may exchange for the batch's.
pub(super) trait Work: Fn(&mut Batch, &mut Vec<u8>) -> Outcome + Sync {}

impl<F: Fn(&mut Batch, &mut Vec<u8>) -> Outcome + Sync> Work for F {}

/// Sends the input through the workers to the output, `piece` bytes of it into each slot.
///
/// If several things fail, returns the failure that comes first in the stream. Everything before it is written.
pub(super) fn run(
    input: &mut (dyn Read + Send),
    output: &mut (dyn Write + Send),
    threads: NonZeroUsize,
    piece: usize,
    work: impl Work,
) -> Result<Flow, Error> {
    let stopped = AtomicBool::new(false);
    let (to_workers, work_queue) = mpsc::channel();
    let work_queue = Mutex::new(work_queue);
    let (work, work_queue, stopped) = (&work, &work_queue, &stopped);

    thread::scope(move |scope| {
        let (to_reader, empty) = mpsc::channel();
        let (to_writer, finished) = mpsc::channel();
        let pool = Pool { empty, unallocated: QUEUE + 2 * threads.get() };
        let reader = Builder::new()
            .name("tl-read".into())
            .spawn_scoped(scope, move || read_batches(input, piece, pool, &to_workers, stopped))?;
        for _ in 0..threads.get() {
            let to_writer = to_writer.clone();
            Builder::new().name("tl-seal".into()).spawn_scoped(scope, move || work_on(work_queue, &to_writer, work))?;
        }
        // Only the workers hold senders now. When they end, the writer ends.
        drop(to_writer);

        let written = write_batches(output, finished, to_reader);
        stopped.store(true, Ordering::Relaxed);
        let read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        // An error of the writer comes earlier in the stream than one of the reader.
        let flow = written?;
        read?;
        if flow.ended { Ok(flow) } else { Err(Error::Truncated) }
    })
}

/// The buffers. Allocated when first needed, so a small file needs only one.
struct Pool {
    empty: Receiver<Vec<u8>>,
    unallocated: usize,
}

impl Pool {
    /// An empty buffer. `None` if the writer has ended.
    fn take(&mut self) -> Option<Vec<u8>> {
        if let Ok(buffer) = self.empty.try_recv() {
            return Some(buffer);
        }
        if self.unallocated > 0 {
            self.unallocated -= 1;
            return Some(vec![0; BATCH]);
        }
        self.empty.recv().ok()
    }
}

/// Reads until the input ends or the others have ended.
fn read_batches(
    input: &mut dyn Read,
    piece: usize,
    mut pool: Pool,
    to_workers: &Sender<Batch>,
    stopped: &AtomicBool,
) -> io::Result<()> {
    // A batch is held back until a byte follows it. Only then it is known not to be the last.
    let mut held: Option<Batch> = None;
    for index in 0.. {
        let Some(mut buffer) = pool.take() else { return Ok(()) };
        let mut filled = 0;
        for slot in buffer.chunks_exact_mut(SLOT) {
            if stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            let read = read_full(input, &mut slot[..piece])?;
            filled += read;
            if read < piece {
                break;
            }
        }
        let ended = filled < CHUNKS * piece;
        if let Some(mut batch) = held.take() {
            batch.last = filled == 0;
            let last = batch.last;
            // If the workers have ended, so has the writer, and it returns why.
            if to_workers.send(batch).is_err() || last {
                return Ok(());
            }
        }
        let batch = Batch { index, buffer, filled, last: ended };
        if ended {
            to_workers.send(batch).ok();
            return Ok(());
        }
        held = Some(batch);
    }
    Ok(())
}

/// A finished batch. `None` if a worker panicked: its batch will never arrive.
type Finished = Option<(Batch, Outcome)>;

fn work_on(queue: &Mutex<Receiver<Batch>>, to_writer: &Sender<Finished>, work: &impl Work) {
    let _last_words = LastWords(to_writer);
    let mut own = Vec::new();
    loop {
        // The guard lives until the end of this statement, so one worker waits in `recv` and the others for the lock.
        let received = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut batch) = received else { return };
        let outcome = work(&mut batch, &mut own);
        if to_writer.send(Some((batch, outcome))).is_err() {
            return;
        }
    }
}

/// Sends `None` if its worker panics. Otherwise the writer would wait forever for the batch of that worker.
struct LastWords<'a>(&'a Sender<Finished>);

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send(None).ok();
        }
    }
}

/// Writes batches in order until the workers end or the stream is damaged.
fn write_batches(
    output: &mut dyn Write,
    finished: Receiver<Finished>,
    to_reader: Sender<Vec<u8>>,
) -> Result<Flow, Error> {
    let mut flow = Flow::default();
    let mut early = BTreeMap::new();
    let mut next = 0;
    for batch in finished {
        let Some((batch, outcome)) = batch else {
            // The scope propagates the panic itself.
            return Err(io::Error::other("a thread that seals or opens died").into());
        };
        early.insert(batch.index, (batch, outcome));
        while let Some((batch, outcome)) = early.remove(&next) {
            if flow.ended {
                return Err(Error::TrailingData);
            }
            output.write_all(&batch.buffer[..outcome.written])?;
            flow.read += batch.filled as u64;
            flow.written += outcome.written as u64;
            match outcome.end {
                End::More => {}
                End::Final => flow.ended = true,
                End::Failed(error) => return Err(error),
            }
            next += 1;
            // After the end of the input the reader has ended and needs no buffers.
            to_reader.send(batch.buffer).ok();
        }
    }
    output.flush()?;
    Ok(flow)
}

/// Reads until the buffer is full or the input ends. Returns the number of bytes.
pub(super) fn read_full(input: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_some(input, &mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Reads once. Repeats a read that a signal interrupts.
pub(super) fn read_some(input: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

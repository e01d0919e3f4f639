use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use rustix::io::Errno;

use crate::storage::Error;
use crate::value::{Cancel, CancelReason};

/// A disk that spins up and a file server that fails over answer within this time.
const LIMIT: Duration = Duration::from_mins(2);
/// How often a waiting caller looks at `cancel`.
const GLANCE: Duration = Duration::from_millis(50);
const BLOCK: usize = 256 * 1024;
/// Blocks that a reader is ahead of its caller.
const AHEAD: usize = 2;

/// Runs a call on a thread of its own, and waits for its result, for `cancel` or for the time limit.
///
/// A call that hangs in the kernel keeps its thread, its buffers, its open files and its lock of the folder until the kernel
/// lets it go. So `call` owns all it works with. It also gets a token that is cancelled as soon as nobody waits for it, and
/// checks that before the step that others can see: what was given up must not happen hours later.
pub(super) fn on_own_thread<T: Send + 'static>(
    uri: &str,
    cancel: &Cancel,
    call: impl FnOnce(&Cancel) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if cancel.is_cancelled() {
        return Err(Error::Cancelled { uri: uri.to_owned() });
    }
    let abandoned = Cancel::default();
    let (sender, receiver) = sync_channel(1);
    let token = abandoned.clone();
    spawn(uri, move || {
        // Nobody waits any more: the result is of no use.
        let _unheard = sender.send(call(&token));
    })?;
    let result = wait(uri, &receiver, cancel);
    if result.is_err() {
        abandoned.cancel(CancelReason::Requested);
    }
    result?
}

fn spawn(uri: &str, call: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = std::thread::Builder::new().name("dir".to_owned()).spawn(call);
    spawned.map(drop).map_err(|error| Error::from_io(uri, error))
}

fn wait<T>(uri: &str, receiver: &Receiver<T>, cancel: &Cancel) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled { uri: uri.to_owned() });
        }
        match receiver.recv_timeout(GLANCE) {
            Ok(sent) => return Ok(sent),
            Err(RecvTimeoutError::Timeout) if began.elapsed() < LIMIT => {}
            Err(RecvTimeoutError::Timeout) => return Err(Error::from_io(uri, Errno::TIMEDOUT.into())),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::from_io(uri, io::Error::other("its thread panicked")));
            }
        }
    }
}

/// Reads a file on a thread of its own, a few blocks ahead.
pub(super) struct FileReader {
    uri: String,
    blocks: Receiver<io::Result<Bytes>>,
    current: Bytes,
    cancel: Cancel,
    ended: bool,
}

impl FileReader {
    pub(super) fn new(uri: String, file: impl Read + Send + 'static, cancel: &Cancel) -> Result<Self, Error> {
        let (sender, blocks) = sync_channel(AHEAD);
        spawn(&uri, move || send_blocks(file, &sender))?;
        Ok(Self { uri, blocks, current: Bytes::new(), cancel: cancel.clone(), ended: false })
    }
}

/// Sends a file block by block, an empty one at its end. Stops when the reader is dropped.
fn send_blocks(mut file: impl Read, blocks: &SyncSender<io::Result<Bytes>>) {
    loop {
        let mut block = vec![0; BLOCK];
        let read = match file.read(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read,
        };
        let is_last = !matches!(read, Ok(1..));
        let sent = read.map(|length| {
            block.truncate(length);
            block.into()
        });
        if blocks.send(sent).is_err() || is_last {
            return;
        }
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !self.ended {
            self.current = wait(&self.uri, &self.blocks, &self.cancel).map_err(io::Error::other)??;
            self.ended = self.current.is_empty();
        }
        let taken = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }
}

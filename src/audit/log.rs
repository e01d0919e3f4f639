use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::files::{self, Layout, Lock};
use super::record::{Actor, Prepared};
use super::state::{Clock, State};
use super::{Checkpoint, Entry, Error};

/// How long a writer or verifier waits for the others.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// When an append returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the records are on the disk: for intents, results, keys, failures.
    Synced,
    /// When the kernel has them: a crash of the machine may lose them, one of the process does not.
    Buffered,
}

/// The audit log of this machine, open for writing. Threads share one; processes each open their own.
pub struct Log {
    layout: Layout,
    clock: Clock,
    lock: Lock,
    /// This process, as it stands in each record.
    actor: Vec<u8>,
    slot: Mutex<Slot>,
}

struct Slot {
    /// Nothing after an error that leaves the state in doubt: the next writer reads the log again.
    state: Option<State>,
    poisoned: bool,
}

impl Log {
    /// Opens the log in this folder and creates it on first use.
    ///
    /// Reads the records of the last segment and compares them with the newest signature. Fails with
    /// [`Error::Damaged`], and writes nothing, when they do not fit.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_with(Layout::new(dir), Timestamp::now)
    }

    pub(super) fn open_with(layout: Layout, clock: Clock) -> Result<Self, Error> {
        if !layout.dir().is_dir() {
            files::create_dir(layout.dir())?;
        }
        let slot = Mutex::new(Slot { state: None, poisoned: false });
        let log = Self { lock: Lock::create(&layout)?, actor: Actor::current().render(), layout, clock, slot };
        log.locked(|_| Ok(()))?;
        Ok(log)
    }

    /// Appends records and returns their sequence numbers when they are on the disk.
    pub fn append(&self, entries: &[Entry]) -> Result<Range<u64>, Error> {
        self.append_with(entries, Durability::Synced)
    }

    /// Appends records, all or none, and returns their sequence numbers.
    ///
    /// An error before the write ([`Error::Kind`], [`Error::Data`], [`Error::TooLong`]) is about the entries; the log
    /// goes on. A batch that spans two segments may be there in part after an I/O error.
    pub fn append_with(&self, entries: &[Entry], durability: Durability) -> Result<Range<u64>, Error> {
        let batch = entries.iter().map(|entry| Prepared::new(entry, &self.actor)).collect::<Result<Vec<_>, _>>()?;
        self.locked(|state| state.append(&batch, durability))
    }

    /// Signs the log as it is now and keeps the signature. A size is signed once.
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        self.locked(State::sign)
    }

    /// The newest signature. There is always one: an empty log is signed when it is created.
    pub fn latest(&self) -> Result<Checkpoint, Error> {
        self.locked(|state| Ok(state.newest.clone()))
    }

    fn poisoned(&self) -> Error {
        Error::Poisoned(self.layout.dir().to_owned())
    }

    /// Does something alone: among the threads by the mutex, among the processes by the lock.
    fn locked<T>(&self, work: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        // A thread that panicked may have left a half-made state: its successors must not sign it.
        let mut slot = self.slot.lock().map_err(|_: PoisonError<_>| self.poisoned())?;
        if slot.poisoned {
            return Err(self.poisoned());
        }
        let _held = self.lock.exclusive(TIMEOUT)?;
        let current = match slot.state.take() {
            Some(mut state) => state.refresh()?.then_some(state),
            None => None,
        };
        let mut state = current.map_or_else(|| State::load(&self.layout, self.clock), Ok)?;
        let result = work(&mut state);
        slot.poisoned = state.poisoned;
        // After a failure the files may have changed in ways that the state does not know.
        slot.state = result.is_ok().then_some(state);
        result
    }
}

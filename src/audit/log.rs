use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::append::{Durability, Interrupted};
use super::files::{self, Layout, Lock, TIMEOUT};
use super::record::{Actor, Draft, Prepared};
use super::state::{Clock, Reached, State};
use super::{Checkpoint, Error};

/// The audit log of this machine, open for writing. Threads share one, each process opens its own.
pub struct Log {
    layout: Layout,
    clock: Clock,
    lock: Lock,
    /// This process in canonical form, as each record has it.
    actor: Vec<u8>,
    slot: Mutex<Slot>,
}

struct Slot {
    /// `None` after an error that leaves the state in doubt: the next writer reads the log again.
    state: Option<State>,
    /// What the log held when this process last had it. It may only grow.
    reached: Option<Reached>,
    poisoned: bool,
}

impl Log {
    /// Opens the log in this folder, or creates it.
    ///
    /// Reads the last segment and compares it with the newest checkpoint. Where they do not fit, fails with
    /// [`Error::Damaged`] and writes nothing.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_with(Layout::new(dir), Timestamp::now)
    }

    pub(super) fn open_with(layout: Layout, clock: Clock) -> Result<Self, Error> {
        if !layout.dir().is_dir() {
            files::create_dir(layout.dir())?;
        }
        let slot = Mutex::new(Slot { state: None, reached: None, poisoned: false });
        let log = Self { lock: Lock::create(&layout)?, actor: Actor::current().render(), layout, clock, slot };
        log.locked(|_| Ok::<(), Error>(()))?;
        Ok(log)
    }

    /// Checks a draft and renders it, without touching the log. Fails with [`Error::Kind`], [`Error::Data`] or
    /// [`Error::TooLong`]: what can be wrong with one record never fails the others of its batch.
    pub fn prepare(&self, draft: &Draft) -> Result<Prepared, Error> {
        Prepared::new(draft, &self.actor)
    }

    /// Appends a batch and returns its sequence numbers. It takes the lock once, writes once and syncs at most once.
    pub fn append(&self, batch: &[Prepared], durability: Durability) -> Result<Range<u64>, Interrupted> {
        self.locked(|state| state.append(batch, durability))
    }

    /// Signs the log as it is now and stores the checkpoint. Each size is signed once.
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        self.locked(State::sign)
    }

    fn poisoned(&self) -> Error {
        Error::Poisoned(self.layout.dir().to_owned())
    }

    /// Works alone: among threads by the mutex, among processes by the lock.
    fn locked<T, E: From<Error>>(&self, work: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        // A thread that panicked may have left a half-made state, which must not be signed.
        let mut slot = self.slot.lock().map_err(|_: PoisonError<_>| self.poisoned())?;
        if slot.poisoned {
            return Err(self.poisoned().into());
        }
        let _held = self.lock.exclusive(TIMEOUT)?;
        if let Some(state) = &slot.state {
            slot.reached = Some(state.reached());
        }
        let current = match slot.state.take() {
            Some(mut state) => state.refresh()?.then_some(state),
            None => None,
        };
        let mut state = match current {
            Some(state) => state,
            None => {
                let state = State::load(&self.layout, self.clock)?;
                slot.reached.as_ref().map_or(Ok(()), |reached| state.continues(reached)).map_err(Error::from)?;
                state
            }
        };
        let result = work(&mut state);
        slot.poisoned = state.poisoned;
        // After a failure the files may have changed in ways that the state does not know.
        slot.state = result.is_ok().then_some(state);
        result
    }
}

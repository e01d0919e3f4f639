use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::table::Stat;

/// A process. Its start time tells it apart from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// The process id.
    pub id: u32,
    /// Its start time in clock ticks since boot; 0 if unknown.
    pub since: u64,
}

impl Process {
    /// This process.
    pub fn own() -> Self {
        let id = std::process::id();
        Self { id, since: Stat::of(id).map(|stat| stat.since).unwrap_or_default() }
    }

    /// Whether it runs: neither gone nor a zombie.
    pub fn is_alive(self) -> bool {
        Stat::of(self.id).is_some_and(|stat| stat.since == self.since && !stat.is_ended())
    }

    /// Sends TERM. `false` if it is gone.
    pub fn terminate(self) -> io::Result<bool> {
        self.signal(Signal::TERM)
    }

    /// Sends a signal. `false` if it is gone.
    pub(super) fn signal(self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = i32::try_from(self.id).ok().and_then(Pid::from_raw) else { return Ok(false) };
        // Opened before the check of the start time: from here on the handle cannot mean another process.
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if !self.is_alive() {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

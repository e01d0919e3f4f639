use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::table::Stat;

/// A process, told apart from a later one of the same number by when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// When it began, in ticks since the machine did; 0 where that cannot be found out.
    pub since: u64,
}

impl Process {
    /// This one.
    pub fn own() -> Self {
        let id = std::process::id();
        Self { id, since: Stat::of(id).map(|stat| stat.since).unwrap_or_default() }
    }

    /// Whether it is at work: neither gone nor ended.
    pub fn is_alive(self) -> bool {
        Stat::of(self.id).is_some_and(|stat| stat.since == self.since && !stat.is_ended())
    }

    /// Asks it to end in order. `false` where it is there no more.
    pub fn terminate(self) -> io::Result<bool> {
        self.signal(Signal::TERM)
    }

    /// Sends it a signal. `false` where it is there no more.
    pub(super) fn signal(self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = i32::try_from(self.id).ok().and_then(Pid::from_raw) else { return Ok(false) };
        // Held before it is looked at: from then on the number cannot come to mean another process.
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

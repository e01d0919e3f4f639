use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process, told apart from a later one of the same number by when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// When it began, in ticks since the machine did; 0 where that cannot be found out.
    pub(super) since: u64,
}

impl Process {
    /// This one.
    pub(super) fn own() -> Self {
        let id = std::process::id();
        Self { id, since: began(id).unwrap_or_default() }
    }

    /// Asks it to end in order. `false` where it is there no more.
    pub fn terminate(self) -> io::Result<bool> {
        let Some(pid) = i32::try_from(self.id).ok().and_then(Pid::from_raw) else { return Ok(false) };
        // Held before it is looked at: from then on the number cannot come to mean another process.
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if began(self.id) != Some(self.since) {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, Signal::TERM) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// When a process began; field 22 of `/proc/PID/stat`, see proc(5).
fn began(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

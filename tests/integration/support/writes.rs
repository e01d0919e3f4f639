//! Writes that fail below `tl`.

use std::fmt;
use std::process::Command;

use super::{Tl, preloaded};

/// How a write fails.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Error { number: u32, forever: bool },
    Killed(&'static str),
}

pub const FAULTS: [Fault; 7] = [
    Fault::Error { number: EIO, forever: false },
    Fault::Error { number: EIO, forever: true },
    Fault::Error { number: ENOSPC, forever: false },
    Fault::Error { number: ENOSPC, forever: true },
    Fault::Error { number: EROFS, forever: true },
    Fault::Killed("before"),
    Fault::Killed("after"),
];

const EIO: u32 = 5;

const ENOSPC: u32 = 28;

/// A disk after its error: the kernel mounts it read-only.
const EROFS: u32 = 30;

/// Where a program fails.
#[derive(Clone, Copy)]
pub struct Case {
    pub fault: Fault,
    /// The number of the write, counted from 1; none fails for 0.
    pub at: usize,
}

/// How many cases are tried: as `TL_FAULTS` says, or all.
pub fn most() -> usize {
    std::env::var("TL_FAULTS").map_or(36, |most| most.parse().unwrap_or(usize::MAX))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at write {}", self.fault, self.at)
    }
}

impl Case {
    /// Lets a program fail in its state folder. Its calls are written to the file `calls`.
    pub fn arm(&self, tl: &Tl, command: &mut Command) {
        command
            .env("LD_PRELOAD", preloaded("disk"))
            .env("TL_FAULT_BELOW", tl.state())
            .env("TL_FAULT_LOG", tl.file("calls"));
        match self.fault {
            Fault::Error { number, forever } => {
                command.env("TL_FAULT_ERROR", number.to_string());
                if forever {
                    command.env("TL_FAULT_FOREVER", "1");
                }
            }
            Fault::Killed(when) => drop(command.env("TL_FAULT_ERROR", when)),
        }
        command.env("TL_FAULT_AT", self.at.to_string());
    }
}

//! Faults below the real program: a disk that may fail at every write of a run, and a clock that jumps.

mod clock;
mod disk;
#[cfg(feature = "peers")]
mod full;
mod kills;
mod migrations;
mod races;
mod sample;

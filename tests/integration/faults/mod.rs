//! Faults below the real program: a disk that may fail at every write of a run, a clock that jumps, and odd machines.

mod clock;
mod disk;
#[cfg(feature = "peers")]
mod full;
mod kills;
mod migrations;
mod places;
mod races;
mod sample;
#[cfg(feature = "peers")]
mod unfit;

//! Faults below the real program: kills, races, failing and full disks, jumping clocks, old databases.

mod clock;
mod disk;
#[cfg(feature = "peers")]
mod full;
mod kills;
mod migrations;
mod races;
mod sample;

//! The audit log under attack, after crashes, and with many writers. Counts are printed.

mod attacks;
mod crashes;
mod formats;
mod recorder;
mod sample;
mod writers;

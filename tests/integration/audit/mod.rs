//! The audit log under attack, after crashes, and with many writers. The tests print their counts.

mod attacks;
mod crashes;
mod formats;
mod recorder;
mod sample;
mod writers;

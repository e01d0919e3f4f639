//! What runs when: a plan of stages and the streams that join them, and the pure machine that decides what may start.
//!
//! A checked pipeline flows in, decisions flow out. No clock, no threads, no I/O: the same events always give the same
//! decisions.

mod machine;
mod plan;

pub use machine::{Decision, Machine};
pub use plan::{Plan, Planned, Unit};

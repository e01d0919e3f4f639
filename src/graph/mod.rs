//! What runs when: a plan of stages and the streams that join them, and the pure machine that decides what may start.
//!
//! A checked pipeline flows in, decisions flow out. Each rule is a pure function in a file of its own. No clock, no threads, no
//! I/O: the same events always give the same decisions.

pub mod assurance;
pub mod chain;
mod instances;
mod machine;
mod matrix;
pub mod outcome;
mod plan;
pub mod recall;
pub mod retry;
mod select;
pub mod start;
pub mod verdict;

pub use machine::{Decision, Job, Machine};
pub use matrix::combinations;
pub use plan::{Plan, Planned, Unit};
pub use select::{Part, Selection};

//! Runs a plan.
//!
//! A plan and something that can do its work flow in, events flow out, and at the end each stage has one outcome. The
//! dispatcher alone decides and alone emits; workers make attempts and report to it. Generic over the work, so that tests
//! drive it with fakes under paused time.

mod dispatcher;
mod worker;

#[cfg(test)]
mod tests;

pub use dispatcher::Engine;
pub use worker::{Attempt, BoxFuture, Emit, Expansion, Instance, Results, StageResult, Work};

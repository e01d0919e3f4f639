//! What a run would do, without doing any of it: a report for people, and a contract that a run can be held to.
//!
//! A loaded pipeline flows in. No secret is read and no store is opened.

mod compare;
mod contract;
mod file;
mod known;
mod report;
mod stage;

pub use compare::Difference;
pub use file::{Kept, is_plan, keep, open_plan};
pub use report::{Due, Group, Instances, PlanReport, StageReport, Told, Unknown, Write, plan};

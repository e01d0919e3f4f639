//! The plan of a run: a report for people, and a contract that a run can be held to.
//!
//! A loaded pipeline flows in; a report, or the text of a plan file, flows out. Before its run, a plan file flows in
//! and the differences from the pipeline file flow out.
//! Nothing here reads a secret, opens a store or runs anything.

mod compare;
mod contract;
mod file;
mod known;
mod report;
mod stage;

pub use compare::Difference;
pub use file::{PlanFile, is_plan, open_plan, plan_text};
pub use report::{Due, Group, Instances, NotificationPlan, PlanReport, StageReport, Unknown, Write, plan};

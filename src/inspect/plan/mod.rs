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
pub use file::{PlanFile, is_plan, open_plan, plan_text};
pub use report::{Due, Group, Instances, NotificationPlan, PlanReport, StageReport, Unknown, Write, plan};

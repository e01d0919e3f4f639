//! The plan of a run: a report for people, and a contract that a run can be held to.
//!
//! A loaded pipeline flows in; a report, or the text of a plan file, flows out. A plan file flows in again before its run, and
//! the differences flow out.
//! What never happens here: no secret is read, no store is opened, nothing is run.
//!
//! What an archive would read now is counted by a walk with limits. It is in the report only: files change between a plan and
//! its run, so they are not part of the contract.

mod compare;
mod contract;
mod file;
mod files;
mod known;
mod report;
mod stage;
mod would_fail;

pub use compare::Difference;
pub use file::{PlanFile, is_plan, open_plan, plan_text};
pub use files::{FileSize, LeftOut, StageFiles, StageWhy, plan_files, plan_why};
pub use report::{Due, Group, Instances, NotificationPlan, PlanReport, StageReport, Unknown, Write, plan};
pub(super) use stage::{known_settings, skipped};

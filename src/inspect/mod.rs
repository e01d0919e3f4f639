//! Reads and judges without running.
//!
//! Pipeline files and the state folder flow in. Findings, reports and numbers flow out, as values that `report` renders.
//! What never happens here: no run starts and no message is sent. Only `doctor`, `secrets` and, when asked, `validate` read
//! secrets; only `doctor` contacts stores and channels.

mod doctor;
mod entries;
mod past;
mod plan;
mod preview;
mod secrets;
mod stale;
mod stats;
mod status;
mod validate;
mod versions;

pub use doctor::{DoctorItem, doctor};
pub use entries::{StageEntry, stage_entries};
pub use past::past_events;
pub use plan::{
    Difference, Due, Group, Instances, NotificationPlan, PlanFile, PlanReport, StageReport, Unknown, Write, is_plan,
    open_plan, plan, plan_text,
};
pub use preview::{Preview, preview};
pub use secrets::{SecretFound, check_secrets};
pub use stale::{Judged, Stale, stale};
pub use stats::{Measured, Odd, PipelineStats, StageStats, Summary, stats};
pub use status::{Status, Watch, Working};
pub use validate::{Finding, ValidateOptions, Validation, validate};
pub(crate) use versions::texts_of;
pub use versions::{History, with_last_good};

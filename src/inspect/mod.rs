//! Inspects pipelines and runs without running anything.
//!
//! Pipeline files and the state folder flow in. Findings, reports and numbers flow out, as values that `report`
//! renders.
//! Nothing here starts a run or sends a message. Only `doctor`, `secrets` and, if asked, `validate` read secrets; only
//! `doctor` contacts stores and channels.

mod doctor;
mod entries;
mod past;
mod plan;
mod preview;
mod secrets;
mod size;
mod stale;
mod stats;
mod status;
mod uploads;
mod validate;
mod versions;

pub use doctor::{DoctorItem, doctor};
pub use entries::{StageEntry, stage_entries};
pub use past::past_events;
pub use plan::{
    Difference, Due, FileSize, Group, Instances, LeftOut, NotificationPlan, PlanFile, PlanReport, StageFiles,
    StageReport, StageWhy, Unknown, Write, is_plan, open_plan, plan, plan_files, plan_text, plan_why,
};
pub use preview::{Preview, preview};
pub use secrets::{SecretFound, check_secrets};
pub(crate) use size::odd_size;
pub use stale::{Judged, Stale, stale};
pub use stats::{Measured, Odd, PipelineStats, StageStats, Summary, stats};
pub use status::{Status, Watch, Working};
pub use uploads::{OrphanedUpload, orphaned_uploads};
pub use validate::{Finding, ValidateOptions, Validation, validate};
pub(crate) use versions::texts_of;
pub use versions::{History, with_last_good};

//! Puts a run together: file, inputs, secrets, stores, channels, audit log, engine, messages.
//!
//! A path and inputs flow in, events flow out, and at the end there is one exit code. This is the only module that
//! knows all the others.

mod chain;
mod contexts;
mod deliveries;
mod delivery;
mod doctor;
mod drain;
mod entries;
mod execute;
mod exit;
mod git;
mod group;
mod instances;
mod keeper;
mod logs;
mod message;
mod messages;
mod notify;
mod on_record;
mod overdue;
mod plan;
mod prepare;
mod recall;
mod recorder;
mod resume;
mod secrets;
mod selected;
mod spools;
mod stale;
mod stats;
mod status;
mod surroundings;
mod teller;
mod uploads;
mod validate;
mod versions;
mod work;

pub use doctor::{Examined, doctor};
pub use entries::{Entry, entries};
pub use execute::{Options, execute};
pub use keeper::database_error;
pub use messages::{Flushed, Preview, Tested, Tried, flush, list, preview, test};
pub use overdue::tell_late;
pub use plan::{
    Difference, Due, Group, Instances, Kept, PlanReport, StageReport, Told, Unknown, Write, is_plan, keep, open_plan,
    plan,
};
pub use prepare::{Loaded, NUL_SECRET, SHORT_SECRET, SHORTEST_SECRET, check, load, runnable, settle};
pub use recorder::audit_error;
pub use resume::{Resumed, Wish, resume};
pub use secrets::{SecretFound, check_secrets};
pub use stale::{Judged, Stale, stale};
pub use stats::{Measured, Odd, PipelineStats, StageStats, Summary, stats};
pub use status::{Status, Watch, Working};
pub use validate::{Finding, Thorough, Validation, validate};
pub use versions::{History, place_of, with_last_good};

//! Puts a run together: file, inputs, secrets, stores, channels, audit log, engine, messages.
//!
//! A path and inputs flow in, events flow out, and at the end there is one exit code. This is the only module that
//! knows all the others.

mod chain;
mod contexts;
mod delivery;
mod doctor;
mod drain;
mod execute;
mod exit;
mod keeper;
mod message;
mod messages;
mod notify;
mod plan;
mod prepare;
mod recorder;
mod validate;
mod work;

pub use doctor::{Examined, doctor};
pub use execute::{Options, execute};
pub use messages::{Flushed, Preview, Tested, Tried, flush, list, preview, test};
pub use plan::{PlanReport, StageReport, plan};
pub use prepare::{Loaded, check, load};
pub use recorder::audit_error;
pub use validate::{Finding, Thorough, Validation, validate};

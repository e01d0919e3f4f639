//! One run through the real program: outcomes, plans, secrets, selection, resuming, cancelling.

mod cancel;
mod earlier;
mod groups;
mod logs;
mod plan;
mod programs;
mod resume;
pub mod runs;
pub mod secrets;
mod selection;
pub mod supervisor;

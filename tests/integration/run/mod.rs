//! One run through the real program: outcomes, plans, secrets, selection, resuming, cancelling.

mod cancel;
mod earlier;
mod groups;
mod logs;
mod parts;
mod plan;
mod programs;
mod resume;
mod runs;
mod secrets;
mod selection;
mod supervisor;
mod used_secrets;

//! The kinds of stages: each one file and one line in [`KINDS`].
//!
//! A resolved `with` and a [`Context`] flow in, outputs flow out; bytes flow through [`artifact`]s. A stage blocks its
//! own thread, says how far it is through its meter, asks `cancel` at every block, and prints nothing.

pub mod archive;
pub mod artifact;
mod assert;
mod audit;
mod command;
mod context;
mod decrypt;
mod download;
mod encrypt;
mod error;
mod kind;
mod notify;
mod reading;
mod registry;
mod upload;
mod verify;

pub use crate::audit::{Record, StageName};
pub use command::{Command, OutputType};
pub use context::{
    Checkpoint, Context, Deliveries, Expected, Ledger, Meter, OpenDelivery, Places, Post, Recorder, Shared, Told,
    Unfinished,
};
pub use error::{StageError, fails_for_warning};
pub use kind::{Flow, Stage, StageKind};
pub use registry::{KINDS, find};
pub use upload::{LOCK_HELP, ObjectRef, lock_problem};

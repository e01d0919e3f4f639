//! The kinds of stages. Each is one file or folder, and one line in [`KINDS`].
//!
//! A [`Context`] and settings with all expressions resolved flow in, outputs flow out. Bytes flow through
//! [`artifact`]s. A stage blocks its own thread, reports its progress through its meter, checks `cancel` at every
//! block, and prints nothing.
//!
//! A kind declares its [`Effect`]s, checks what is [`Known`] of its settings offline, and sums up its outputs. Other rooms read
//! these declarations; none asks for a kind, a setting or an output by its name.

pub mod archive;
pub mod artifact;
mod assert;
mod audit;
mod command;
mod decrypt;
mod download;
mod encrypt;
mod kind;
mod notify;
mod object_lock;
mod reading;
mod registry;
#[cfg(feature = "test-kinds")]
mod test_kind;
mod upload;
mod verify;

pub use crate::audit::{Record, StageName};
pub use command::{Command, OutputType};
pub use kind::{
    ARTIFACT, Checkpoint, Context, Decides, Deliveries, Delivery, Effect, Expected, Finding, Findings, Flow, Known,
    Ledger, Meter, Notifier, OpenDelivery, Places, RUN, Reading, Recorder, Setting, Shared, Stage, StageError,
    StageKind, StageNotice, Unfinished, fails_for_warning,
};
pub use object_lock::lock_words;
pub use registry::{KINDS, find, summary};
pub use upload::ObjectRef;

//! The kinds of stages: each one file and one line in [`KINDS`].
//!
//! A resolved `with` and a [`Context`] flow in, outputs flow out; bytes flow through [`artifact`]s. A stage blocks its
//! own thread, says how far it is through its meter, asks `cancel` at every block, and prints nothing.

pub mod archive;
pub mod artifact;
mod assert;
mod audit;
mod cancel;
mod command;
mod context;
mod decrypt;
mod download;
mod encrypt;
mod error;
mod kind;
mod notify;
mod upload;
mod verify;

pub(crate) use assert::SKIP;
pub use cancel::{Cancel, Stop};
pub use command::{Command, OutputType, kill_children};
pub use context::{Checkpoint, Context, Ledger, Meter, Places, Recorder, Severity, Shared, Told, deliver};
pub use kind::{Flow, Stage, StageKind};
pub use upload::ObjectRef;

use kind::kind;

/// Every kind of stage.
pub static KINDS: &[StageKind] = &[
    kind::<archive::Archive>(),
    kind::<encrypt::Encrypt>(),
    kind::<decrypt::Decrypt>(),
    kind::<upload::Upload>(),
    kind::<download::Download>(),
    kind::<verify::Verify>(),
    kind::<audit::Audit>(),
    kind::<notify::Notify>(),
    kind::<assert::Assert>(),
];

/// The kind of that name.
pub fn find(name: &str) -> Option<&'static StageKind> {
    KINDS.iter().find(|kind| kind.name == name)
}

//! What a kind of stages is: the trait that it implements, what it declares, and what it is given while it runs.

mod context;
mod effect;
mod error;
mod known;
mod stage;

pub(super) use context::MAKE_ROOM;
pub use context::{
    Checkpoint, Context, Deliveries, Expected, Ledger, Meter, Notifier, OpenDelivery, Places, Recorder, Shared,
    StageNotice, Unfinished,
};
pub use effect::{Decides, Delivery, Effect, Reading, Setting};
pub use error::{StageError, fails_for_warning};
pub use known::{Finding, Findings, Known};
pub(super) use stage::kind;
pub use stage::{ARTIFACT, Flow, RUN, Stage, StageKind};

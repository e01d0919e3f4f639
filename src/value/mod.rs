//! The scalars of a pipeline file: names, durations, schedules, paths, secrets, digests; which addresses are public; what a
//! registry of kinds is made of. They parse, print and describe themselves. `Cancel` and `BatchQueue` are here too: nothing in
//! this folder knows the rest of the program.

mod address;
mod batch_queue;
mod cancel;
mod digest;
mod duration;
mod human;
mod inherited;
mod kind;
mod mask;
mod name;
mod path;
mod schedule;
mod secret;
mod size;
mod steering;
mod utc;

pub use address::is_public;
pub use batch_queue::BatchQueue;
pub use cancel::{Cancel, CancelReason};
pub use digest::{Digest, KeyError, ObjectKey, hex, parse_sha256};
pub use duration::{Duration, ParseDurationError, ParsePositiveDurationError, PositiveDuration};
pub use human::{human_bytes, human_duration};
pub use inherited::INHERITED;
pub use kind::{Kind, kept_schema_of, schema_of};
pub use mask::{MASK, Masker};
pub use name::{Name, NameError};
pub use path::FilePath;
pub use schedule::{Schedule, ScheduleError, ScheduleErrorKind};
pub use secret::Secret;
pub use size::{ParseSizeError, Size};
pub use steering::is_steering;
pub use utc::utc;

//! Small values that every part of the program uses: the scalars of a file (names, durations, sizes, schedules, paths),
//! digests, secrets and their masking, public addresses, the cancel token, and the entry of a registry.
//!
//! A text flows in, a valid value flows out, with its schema. Nothing here imports another part of the program.

mod address;
mod batch_queue;
mod cancel;
mod control;
mod digest;
mod duration;
mod host;
mod human;
mod inherited;
mod json;
mod kind;
mod mask;
mod name;
mod path;
mod percent;
mod schedule;
mod secret;
mod settings;
mod size;

mod utc;

pub use address::is_public;
pub use batch_queue::BatchQueue;
pub use cancel::{Cancel, CancelReason};
pub use control::{is_bidi, is_control_or_bidi};
pub use digest::{Digest, KeyError, ObjectKey, hex, parse_sha256, sha256};
pub use duration::{Duration, ParseDurationError, ParsePositiveDurationError, PositiveDuration};
pub use host::host_name;
pub use human::{human_bytes, human_duration};
pub use inherited::INHERITED;
pub use json::object;
pub use kind::{Kind, Unfit, kept_schema_of, schema_of, written_schema_of};
pub use mask::{MASK, Masker};
pub use name::{Name, NameError};
pub use path::{FilePath, shell_expansion};
pub use percent::{ParsePercentError, Percent};
pub use schedule::{Schedule, ScheduleError, ScheduleErrorKind};
pub use secret::Secret;
pub use settings::{Reveal, Settings};
pub use size::{ParseSizeError, Size};
pub use utc::utc;

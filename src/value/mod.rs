//! The scalars of a pipeline file: names, durations, paths, secrets, digests; and what a registry of kinds is made of.
//! They parse, print and describe themselves, and know nothing of the rest of the program.

mod digest;
mod duration;
mod human;
mod inherited;
mod kind;
mod mask;
mod name;
mod path;
mod secret;
mod steering;

pub use digest::{Digest, KeyError, ObjectKey, hex, parse_sha256};
pub use duration::{Duration, ParseDurationError};
pub use human::{human_bytes, human_duration};
pub use inherited::INHERITED;
pub use kind::{Kind, schema_of};
pub use mask::{MASK, Masker};
pub use name::{Name, NameError};
pub use path::FilePath;
pub use secret::Secret;
pub use steering::is_steering;

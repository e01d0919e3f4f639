//! The scalars of a pipeline file: names, durations, secrets. They parse, print and describe themselves, and know
//! nothing of the rest of the program.

mod duration;
mod mask;
mod name;
mod secret;

pub use duration::{Duration, ParseDurationError};
pub use mask::{MASK, Masker};
pub use name::{Name, NameError};
pub use secret::Secret;

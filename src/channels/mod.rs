//! Channels: ways to tell somebody.
//!
//! A [`Message`] flows in; what comes back says whether it was delivered, and how that is known. Each kind is one file
//! and one line in [`KINDS`]. Rendering happens before, in `template/`.

mod channel;
mod command;
mod file;

pub use channel::{Channel, Error, KINDS, Message};
pub use command::Command;
pub use file::MessageFile;

//! Channels: ways to tell somebody.
//!
//! A [`Message`] flows in; what comes back says whether it was delivered, and how that is known. Each kind is one file
//! and one line in [`KINDS`]. Rendering happens before, in `template/`. What a receiver answers is text of a stranger: it
//! is cut, cleaned and masked before it goes anywhere.

mod channel;
mod command;
mod desktop;
mod email;
mod file;
mod http;
mod services;
mod text;
mod webhook;

pub use channel::{Channel, Error, KINDS, Message};
pub use command::Command;
pub use desktop::Desktop;
pub use email::Email;
pub use file::MessageFile;
pub use webhook::Webhook;

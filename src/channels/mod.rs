//! Channels: ways to send a message to people and to other programs.
//!
//! A [`Message`] flows in, rendered by `template/` and masked. The evidence of its delivery, or an error, flows out. Each kind is one
//! file here and one line in [`KINDS`]. A receiver's answer is a stranger's text: it is cut, cleaned and masked before it goes anywhere.
//!
//! A channel delivers once. The outbox (`state/`, `run/`) keeps messages and repeats them with the same id, by which a receiver can tell
//! a repeated message from a new one. `http` alone retries within one delivery.

mod channel;
mod command;
mod desktop;
mod email;
mod file;
mod http;
mod registry;
mod services;
mod text;
mod thread;
mod webhook;

pub use channel::{Channel, Error, Message};
pub use command::Command;
pub use desktop::Desktop;
pub use email::Email;
pub use file::MessageFile;
pub use registry::KINDS;
pub use webhook::Webhook;

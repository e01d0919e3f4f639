//! Which messages are sent when, and their way through the outbox to the channels.
//!
//! An occasion flows in: a run started, ended or could not start, or a pipeline is overdue. Messages flow out through the
//! channels, and what became of each flows back through a callback, for events and reports.
//! What never happens here: no stage starts and no outcome is decided. A message that was not delivered is an answer to the
//! caller, who decides what that means.
//!
//! `blocked` is sent once an hour for a cause: a broken disk and a run each minute must not fill a mailbox. A run that its own state
//! blocks, so that neither the log nor the outbox can be written, sends it directly. A run whose file cannot be read, or whose inputs
//! it does not take, tells the channels of the last good text.

mod delivery;
mod direct;
mod drain;
mod message;
mod messages;
mod occasion;
mod outbox;
mod overdue;
mod unread;

pub(crate) use delivery::RunNotifier;
pub(crate) use direct::{forget_blocked, send_blocked, send_directly};
pub(crate) use drain::{drain, outbox_trouble};
pub(crate) use messages::{Flushed, flush, list, test};
pub(crate) use occasion::{History, forget_late, message_id, recovery, send, when};
pub(crate) use outbox::OutboxHandle;
pub(crate) use overdue::send_overdue;
pub(crate) use unread::send_unread;

//! Messages: the outbox, the channels, and pipelines that are overdue.

pub mod channels;
pub mod messages;
mod stale;

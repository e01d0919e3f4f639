//! Messages: the outbox, the channels, and pipelines that are overdue.

#[cfg(feature = "peers")]
mod blocked;
mod channels;
mod counts;
mod messages;
mod stale;
mod unread;

//! Messages: the outbox, the channels, and pipelines that are overdue.

mod channels;
mod counts;
mod messages;
mod stale;
mod unread;

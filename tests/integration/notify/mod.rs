//! Messages: the outbox, the channels, and pipelines that are overdue.

mod channels;
mod messages;
mod stale;

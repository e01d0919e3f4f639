//! Popular services. Each is a message format and an address, over the same HTTP code as a webhook.

mod chat;
mod monitor;
mod push;
mod service;

pub(super) use chat::{Discord, Slack, Teams};
pub(super) use monitor::{Healthchecks, PagerDuty, UptimeKuma};
pub(super) use push::{Gotify, Ntfy, Pushover};

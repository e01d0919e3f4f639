//! Commands that show what ran, what runs and what should have.

mod gc;
mod list;
mod logs;
mod open;
mod show;
mod stale;
mod stats;
mod status;

pub(super) use gc::{Gc, gc};
pub(super) use list::{History, history};
pub(super) use logs::{Logs, logs};
pub(super) use show::{Show, show};
pub(super) use stale::{Stale, stale};
pub(super) use stats::{Stats, stats};
pub(super) use status::{Status, status};

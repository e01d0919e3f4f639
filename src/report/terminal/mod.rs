//! Reports for a person at a terminal.
//!
//! In: events, diagnostics, plans, and records of the state folder and the audit log. Out: lines that fit the screen. Text
//! from outside never steers the terminal. `run/` shows a run while it happens, `file/` what a command found in a file.

mod audit;
mod diagnostic;
mod file;
mod gc;
mod history;
mod log;
mod messages;
mod run;
mod show;
mod stale;
mod stats;
mod status;
mod table;

pub use audit::{render_record, render_report};
pub use diagnostic::render_diagnostic;
pub use file::{
    plan_difference, render_counts, render_diff, render_examined, render_explanation, render_files, render_plan,
    render_secrets, render_versions, render_why,
};
pub use gc::render_removed;
pub use history::render_history;
pub use log::render_log_line;
pub use messages::{render_outbox, render_preview};
pub use run::{Human, Progress, Quiet};
pub use show::render_run;
pub use stale::render_stale;
pub use stats::render_stats;
pub use status::{render_orphans, render_status};
pub use table::Screen;

use super::text::plain;

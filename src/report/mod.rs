//! Renders what people and machines read, and owns all output.
//!
//! Diagnostics, events, plans and records flow in; text and JSON flow out through a [`Output`]. Nothing is decided here.

mod actions;
mod audit;
mod beside;
mod diagnostic;
mod differences;
mod doctor;
mod dot;
mod explanation;
mod findings;
mod gc;
mod github;
mod graph;
mod history;
mod human;
mod json;
mod junit;
mod lines;
mod live;
mod log;
mod mermaid;
mod messages;
mod next;
mod output;
mod plain;
mod plan;
mod progress;
mod queue;
mod reporter;
mod sarif;
mod secrets;
mod show;
mod stale;
mod stats;
mod status;
mod step_summary;
mod summary;
mod svg;
mod table;
mod tail;
mod tally;
mod terminal;
#[cfg(test)]
mod tests;
mod tree;
mod versions;
mod width;

pub use actions::Actions;
pub use audit::{render_record, render_report};
pub use diagnostic::render_diagnostic;
pub use differences::differing;
pub use doctor::render_examined;
pub use dot::render_dot;
pub use explanation::render_explanation;
pub use findings::render_counts;
pub use gc::render_removed;
pub use github::render_github;
pub use graph::{GraphReport, graph};
pub use history::render_history;
pub use human::Human;
pub use json::JsonLines;
pub use junit::Junit;
pub use lines::Lines;
pub use log::render_log_line;
pub use mermaid::render_mermaid;
pub use messages::{render_outbox, render_preview};
pub use output::{Output, Stream, Style, on_panic};
pub use plan::render_plan;
pub use progress::Progress;
pub use queue::Queue;
pub use reporter::Reporter;
pub use sarif::render_sarif;
pub use secrets::render_secrets;
pub use show::render_run;
pub use stale::render_stale;
pub use stats::render_stats;
pub use status::render_status;
pub use svg::render_svg;
pub use table::Screen;
pub use versions::{render_diff, render_versions};

use beside::{append, unwritten};
use terminal::{Signs, Terminal};

pub(crate) use plain::{plain, plain_lines};

//! Renders what people and machines read, and owns all output.
//!
//! In: diagnostics, events, plans and records. Out: text and JSON, through an [`Output`] or a [`Reporter`]. Nothing is
//! decided here. The folders are the readers: `terminal/` for people, `ci/` for CI services and logs, `machine/` for
//! programs, `drawing/` for graphs. What several readers share stands beside them: text, style, the tally of a run, its
//! summary and what to do next.

mod ci;
mod drawing;
mod machine;
mod next;
mod output;
mod queue;
mod reporter;
mod style;
mod summary;
mod tally;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

pub use ci::{Actions, Junit, Lines, render_github, render_sarif};
pub use drawing::{GraphReport, graph, render_dot, render_mermaid, render_svg};
pub use machine::{JsonLines, render_json, render_json_line};
pub use output::{Output, Stream, on_panic};
pub use queue::Queue;
pub use reporter::Reporter;
pub use style::Style;
pub use terminal::{
    Human, Progress, Quiet, Screen, plan_difference, render_counts, render_diagnostic, render_diff, render_examined,
    render_explanation, render_files, render_history, render_log_line, render_orphans, render_outbox, render_plan,
    render_preview, render_record, render_removed, render_report, render_run, render_secrets, render_stale,
    render_stats, render_status, render_versions, render_why,
};
pub use text::shell_word;

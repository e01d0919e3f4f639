//! Reports for CI services and for logs.
//!
//! In: events of a run, findings of `validate`. Out: lines of a log, GitHub's workflow commands and step summary, `JUnit`,
//! SARIF. No text from outside becomes a command, an element or markup here: each format escapes it.

mod actions;
mod findings;
mod github;
mod junit;
mod lines;
mod sarif;
mod step_summary;
mod tail;

pub use actions::Actions;
pub use github::render_github;
pub use junit::Junit;
pub use lines::Lines;
pub use sarif::render_sarif;

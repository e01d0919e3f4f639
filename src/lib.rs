//! TimeLocker runs versioned YAML pipelines that protect data: collect it, seal it, deliver it, prove that it arrived,
//! record what happened in a log that nobody can quietly change, and tell the right people.
//!
//! The library is internal: it exists for the program `tl`, its tests and its benches. Nothing in it follows semantic
//! versioning. What is stable is the language of pipeline files, the published schemas, the codes and the formats on disk.
//!
//! ARCHITECTURE.md shows the flow through these modules and who may import whom.

pub mod audit;
pub mod channels;
pub mod cli;
pub mod crypto;
pub mod diagnostic;
pub mod engine;
pub mod event;
pub mod explain;
pub mod expression;
pub mod graph;
mod init;
pub mod inspect;
mod notify;
mod open;
pub mod pipeline;
pub mod process;
pub mod report;
mod run;
pub mod source;
pub mod stages;
pub mod state;
pub mod storage;
mod template;
mod trace;
pub mod value;
pub mod vault;

//! TimeLocker runs versioned YAML pipelines that protect data: collect it, seal it, deliver it, prove that it arrived,
//! record what happened in a log that nobody can quietly change, and tell the right people.
//!
//! ARCHITECTURE.md shows the flow through these modules and who may import whom.

pub mod diagnostic;
pub mod expression;
pub mod stages;
pub mod storage;
pub mod value;
pub mod vault;

//! What a command found in a pipeline file, or would do with it.

mod counts;
mod differences;
mod doctor;
mod explanation;
mod files;
mod plan;
mod secrets;
mod versions;

pub use counts::render_counts;
pub use differences::plan_difference;
pub use doctor::render_examined;
pub use explanation::render_explanation;
pub use files::{render_files, render_why};
pub use plan::render_plan;
pub use secrets::render_secrets;
pub use versions::{render_diff, render_versions};

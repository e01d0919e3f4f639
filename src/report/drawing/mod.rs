//! Graphs of pipelines.
//!
//! In: a plan, or the stages of a file. Out: Mermaid, Graphviz's dot, SVG, or nodes and edges as JSON.

mod dot;
mod graph;
mod mermaid;
mod svg;

pub use dot::render_dot;
pub use graph::{GraphReport, graph};
pub use mermaid::render_mermaid;
pub use svg::render_svg;

pub(super) use mermaid::render_outcomes;

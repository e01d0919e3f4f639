use layout::backends::svg::SVGWriter;
use layout::gv::{DotParser, GraphBuilder};

use super::dot::render_dot;
use super::graph::GraphReport;
use crate::diagnostic::{Diagnostic, Result, codes};

/// A graph as an SVG picture.
pub fn render_svg(graph: &GraphReport) -> Result<String> {
    let dot = render_dot(graph);
    let parsed = DotParser::new(&dot).process().map_err(|error| {
        let message = "this graph cannot be drawn: please report it";
        let mut found =
            Diagnostic::failure(codes::TL0777, message).help("`--format dot` and `--format mermaid` need no drawing");
        found.causes.push(error);
        found
    })?;
    let mut builder = GraphBuilder::new();
    builder.visit_graph(&parsed);
    let mut picture = SVGWriter::new();
    builder.get().do_it(false, false, false, &mut picture);
    Ok(picture.finalize() + "\n")
}

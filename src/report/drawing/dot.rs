use super::graph::GraphReport;

/// A graph in the dot language of Graphviz.
pub fn render_dot(graph: &GraphReport) -> String {
    let mut text = format!("digraph {} {{\n  node [shape=box];\n", quoted(&graph.pipeline));
    for (number, group) in graph.groups.iter().enumerate() {
        text.push_str(&format!("  subgraph cluster_{number} {{\n    label={};\n", quoted(group.kind)));
        for stage in &group.stages {
            text.push_str(&format!("    {};\n", quoted(stage)));
        }
        text.push_str("  }\n");
    }
    for node in &graph.nodes {
        let group = graph.groups.iter().find(|group| group.stages.contains(&node.name));
        // Also coloured, because some renderers ignore clusters.
        let colour = match group.map(|group| group.kind) {
            Some("finally") => ", style=filled, fillcolor=lightgray",
            Some(_) => ", style=filled, fillcolor=lightblue",
            None => "",
        };
        let condition = if node.condition.is_some() { ", color=blue" } else { "" };
        let lines: Vec<String> = node.lines().iter().map(|line| escaped(line)).collect();
        let label = format!("\"{}\"", lines.join("\\n"));
        text.push_str(&format!("  {} [label={label}{colour}{condition}];\n", quoted(&node.name)));
    }
    for edge in &graph.edges {
        text.push_str(&format!("  {} -> {};\n", quoted(&edge.from), quoted(&edge.to)));
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// Escapes a text for quotes. A backslash begins an escape in labels, such as `\N`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

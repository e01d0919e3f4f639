use std::collections::BTreeMap;

use super::graph::GraphReport;
use crate::event::Outcome;

/// A graph as a Mermaid flowchart, which GitHub, GitLab and many wikis show.
pub fn render_mermaid(graph: &GraphReport) -> String {
    let mut text = format!("---\ntitle: {}\n---\nflowchart TD\n", graph.pipeline);
    for node in &graph.nodes {
        let lines: Vec<String> = node.lines().iter().map(|line| escaped(line)).collect();
        text.push_str(&format!("  {}[\"{}\"]\n", id(&node.name), lines.join("<br>")));
    }
    for (number, group) in graph.groups.iter().enumerate() {
        text.push_str(&format!("  subgraph group_{number} [\"{}\"]\n", group.kind));
        for stage in &group.stages {
            text.push_str(&format!("    {}\n", id(stage)));
        }
        text.push_str("  end\n");
    }
    for edge in &graph.edges {
        text.push_str(&format!("  {} --> {}\n", id(&edge.from), id(&edge.to)));
    }
    for node in graph.nodes.iter().filter(|node| node.condition.is_some()) {
        text.push_str(&format!("  style {} stroke-dasharray: 5 5\n", id(&node.name)));
    }
    text
}

/// The graph of a run, each stage in the colour of its outcome.
pub(in crate::report) fn render_outcomes(graph: &GraphReport, outcomes: &BTreeMap<&str, Outcome>) -> String {
    let mut text = render_mermaid(graph);
    for (name, outcome) in outcomes {
        let colour = match outcome {
            Outcome::Success => "#2da44e",
            Outcome::Warning => "#bf8700",
            Outcome::Failure | Outcome::Blocked => "#cf222e",
            Outcome::Skipped | Outcome::Cancelled => "#6e7781",
        };
        text.push_str(&format!("  style {} fill:{colour},color:#ffffff\n", id(name)));
    }
    text
}

/// The id of a node. Names such as `end` are keywords of Mermaid.
fn id(name: &str) -> String {
    format!("stage_{name}")
}

/// Escapes a text for quotes, including any HTML and Markdown in it.
fn escaped(line: &str) -> String {
    line.chars()
        .map(|c| match c {
            c if c.is_alphanumeric() || matches!(c, ' ' | ',' | '.' | ':' | '-' | '/' | '=' | '×' | '…') => {
                c.to_string()
            }
            c => format!("#{};", u32::from(c)),
        })
        .collect()
}

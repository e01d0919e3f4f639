use serde::Serialize;

use crate::inspect::{PlanReport, StageEntry, StageReport};
use crate::report::text::{cut, plain};

/// The graph of a pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct GraphReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stages.
    pub nodes: Vec<Node>,
    /// Which stage needs which.
    pub edges: Vec<Edge>,
    /// Streams, and `finally`.
    pub groups: Vec<Group>,
}

/// A stage.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its kind, or `run`.
    pub kind: String,
    /// The labels of its instances; empty if it has no matrix or they are not known yet.
    pub instances: Vec<String>,
    /// When the instances will be known, if they are not.
    pub instances_known: Option<String>,
    /// Its `if`.
    pub condition: Option<String>,
    /// Why it would be skipped.
    pub skipped: Option<String>,
}

/// A dependency: `to` needs `from`.
#[derive(Clone, Debug, Serialize)]
pub struct Edge {
    /// The stage that must end first.
    pub from: String,
    /// The stage that waits.
    pub to: String,
}

/// Stages that belong together.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// `stream`, or `finally`.
    pub kind: &'static str,
    /// The stages.
    pub stages: Vec<String>,
}

/// The graph of a plan.
pub fn graph(plan: &PlanReport) -> GraphReport {
    let stages: Vec<&StageReport> = plan.steps.iter().flatten().collect();
    let is_first = |stage: &&&StageReport| stage.stream.first() == Some(&stage.name);
    let streams = stages.iter().filter(is_first).filter(|stage| !stage.finally);
    let mut groups: Vec<Group> = streams.map(|stage| Group { kind: "stream", stages: stage.stream.clone() }).collect();
    let last: Vec<String> = stages.iter().filter(|stage| stage.finally).map(|stage| stage.name.clone()).collect();
    if !last.is_empty() {
        groups.push(Group { kind: "finally", stages: last });
    }
    let edges = |stage: &&StageReport| {
        let to = stage.name.clone();
        stage.needs.iter().map(move |need| Edge { from: need.clone(), to: to.clone() }).collect::<Vec<_>>()
    };
    GraphReport {
        pipeline: plan.pipeline.clone(),
        edges: stages.iter().flat_map(edges).collect(),
        nodes: stages.into_iter().map(node).collect(),
        groups,
    }
}

impl GraphReport {
    /// The graph of stages as they stand in their file: names, kinds, and what waits for what.
    pub(in crate::report) fn of_entries(pipeline: &str, entries: &[StageEntry]) -> Self {
        let node = |entry: &StageEntry| Node {
            name: entry.name.clone(),
            kind: entry.kind.clone(),
            instances: Vec::new(),
            instances_known: None,
            condition: None,
            skipped: None,
        };
        let edges = |entry: &StageEntry| {
            let to = entry.name.clone();
            entry.needs.iter().map(move |need| Edge { from: need.clone(), to: to.clone() }).collect::<Vec<_>>()
        };
        Self {
            pipeline: pipeline.to_owned(),
            nodes: entries.iter().map(node).collect(),
            edges: entries.iter().flat_map(edges).collect(),
            groups: Vec::new(),
        }
    }
}

fn node(stage: &StageReport) -> Node {
    let instances = stage.instances.as_ref();
    Node {
        name: stage.name.clone(),
        kind: stage.kind.clone(),
        instances: instances.and_then(|instances| instances.labels.clone()).unwrap_or_default(),
        instances_known: instances.and_then(|instances| instances.known.clone()),
        condition: stage.condition.clone(),
        skipped: stage.skipped.clone(),
    }
}

/// How many columns of a line a picture shows.
const WIDEST: usize = 61;

impl Node {
    /// The lines of a node in a picture, without line breaks and control characters.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.name.clone(), self.kind.clone()];
        if !self.instances.is_empty() {
            lines.push(format!("{} × {}", self.instances.len(), self.instances.join(" | ")));
        }
        lines.extend(self.instances_known.as_ref().map(|known| format!("× known {known}")));
        lines.extend(self.condition.as_ref().map(|condition| format!("if {condition}")));
        lines.extend(self.skipped.as_ref().map(|reason| format!("skipped: {reason}")));
        lines.iter().map(|line| cut(&plain(line).replace('\t', " "), WIDEST, "…")).collect()
    }
}

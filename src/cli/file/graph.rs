use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::atomic_file;
use crate::cli::done::Done;
use crate::cli::inputs::Inputs;
use crate::diagnostic::ExitCode;
use crate::inspect;
use crate::open;
use crate::report::{Output, graph as graph_of, render_dot, render_json, render_mermaid, render_svg};

#[derive(Debug, Args)]
pub(in crate::cli) struct Graph {
    /// The pipeline file.
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) inputs: Inputs,
    /// How to draw it.
    #[arg(long, value_enum, default_value_t = Drawing::Mermaid)]
    pub(in crate::cli) format: Drawing,
    /// Write it to this file, replacing its content; by default to standard output.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
}

/// How to draw a graph.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Drawing {
    /// A Mermaid flowchart, which GitHub and GitLab show.
    Mermaid,
    /// Graphviz.
    Dot,
    /// Nodes and edges as JSON.
    Json,
    /// An SVG picture.
    Svg,
}

pub(in crate::cli) fn graph(command: &Graph, output: &mut Output) -> Done {
    let loaded = open::load(&command.file, &command.inputs.values()?)?;
    let graph = graph_of(&inspect::plan(&loaded, None).map_err(|error| vec![error])?);
    let text = match command.format {
        Drawing::Mermaid => render_mermaid(&graph),
        Drawing::Dot => render_dot(&graph),
        Drawing::Json => render_json(&graph)?,
        Drawing::Svg => render_svg(&graph).map_err(|error| vec![error])?,
    };
    match &command.out {
        Some(out) => {
            let from = atomic_file::content(out);
            atomic_file::rewrite(&atomic_file::Rewrite { file: out, from: from.as_deref(), to: text.as_bytes() })?;
        }
        None => output.text(&text),
    }
    Ok(ExitCode::Success)
}

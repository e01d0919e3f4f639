use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::arguments::Inputs;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The pipeline file, or a plan that `tl plan --out` wrote: then it runs as planned, or not at all. With `--resume`, a
    /// run or a file.
    #[arg(required_unless_present = "resume", value_name = "FILE|RUN")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) inputs: Inputs,
    /// Go on with a run that failed or was interrupted: this one, or the last one of this file, or the only one there is.
    /// What it has done and is still there is not done again.
    #[arg(long, conflicts_with = "inputs")]
    pub(super) resume: bool,
    /// How to report what happens.
    #[arg(long, value_enum, default_value_t = ReporterKind::Human)]
    pub(super) reporter: ReporterKind,
    /// Also write the XML of `JUnit` to this file, for CI that shows test results. An older report there is replaced.
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ReporterKind {
    /// For people; on a terminal with what runs now.
    Human,
    /// One line of text for each event, with its time: for logs.
    Plain,
    /// One event a line.
    Json,
    /// For GitHub Actions: groups, annotations, and a summary in `$GITHUB_STEP_SUMMARY`.
    Github,
}

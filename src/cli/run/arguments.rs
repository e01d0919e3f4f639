use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::inputs::Inputs;
use crate::graph::Selection;
use crate::run::ResumeMode;

#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// The pipeline file, or a plan that `tl plan --out` wrote, which runs as planned or not at all. With `--resume` or
    /// `--rerun-failed`, a run or a file.
    #[arg(required_unless_present_any = ["resume", "rerun_failed"], value_name = "FILE|RUN")]
    pub(in crate::cli) file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) inputs: Inputs,
    /// Resume a run that failed or was interrupted: this run, or the last one of this file, or the only one there is.
    /// Finished stages are not repeated while their results are still there.
    #[arg(long, conflicts_with = "inputs")]
    pub(in crate::cli) resume: bool,
    /// Repeat the failed stages of a run that has ended, and the stages that depend on them. Failures that
    /// `continue-on-error` forgave count too.
    #[arg(long, conflicts_with_all = ["inputs", "resume", "only", "from"])]
    pub(in crate::cli) rerun_failed: bool,
    /// Run only this stage and the stages it needs; can be repeated. With `--resume` the stage runs again, even if it
    /// succeeded before.
    #[arg(long, value_name = "STAGE", conflicts_with = "from")]
    pub(in crate::cli) only: Vec<String>,
    /// Run this stage, the stages that depend on it, and the stages those need; can be repeated. With `--resume` it and
    /// its dependents run again, even if they succeeded before.
    #[arg(long, value_name = "STAGE")]
    pub(in crate::cli) from: Vec<String>,
    /// How to report the run.
    #[arg(long, value_enum, default_value_t = ReporterKind::Human)]
    pub(in crate::cli) reporter: ReporterKind,
    /// Print nothing where the run ends with 0, else what failed, why, and what to do next: for cron and its like.
    #[arg(long, short, conflicts_with = "reporter")]
    pub(in crate::cli) quiet: bool,
    /// Also write a report as `JUnit` XML to this file, for CI that shows test results. An older report there is replaced.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) junit: Option<PathBuf>,
}

impl Run {
    /// The selected stages.
    pub(in crate::cli) fn selection(&self) -> Selection {
        match (self.only.is_empty(), self.from.is_empty()) {
            (false, _) => Selection::Only(self.only.clone()),
            (_, false) => Selection::From(self.from.clone()),
            _ => Selection::All,
        }
    }

    /// Why a run goes on, if one does.
    pub(in crate::cli) fn resume_mode(&self) -> Option<ResumeMode> {
        match (self.rerun_failed, self.resume, self.selection()) {
            (true, ..) => Some(ResumeMode::RerunFailed),
            (_, true, Selection::All) => Some(ResumeMode::Finish),
            (_, true, _) => Some(ResumeMode::Stages),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum ReporterKind {
    /// For people; on a terminal with the running stages.
    Human,
    /// One line of text for each event, with its time, for logs.
    Plain,
    /// One JSON event a line.
    Json,
    /// For GitHub Actions: groups, annotations, and a summary in `$GITHUB_STEP_SUMMARY`.
    Github,
}

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::arguments::Inputs;
use crate::graph::Selection;
use crate::run::ResumeMode;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The pipeline file, or a plan that `tl plan --out` wrote: then it runs as planned, or not at all. With `--resume` or
    /// `--rerun-failed`, a run or a file.
    #[arg(required_unless_present_any = ["resume", "rerun_failed"], value_name = "FILE|RUN")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) inputs: Inputs,
    /// Go on with a run that failed or was interrupted: this one, or the last one of this file, or the only one there is.
    /// What it has done and is still there is not done again.
    #[arg(long, conflicts_with = "inputs")]
    pub(super) resume: bool,
    /// Go on with a run that has ended, because a stage of it failed, also where `continue-on-error` forgave that: what
    /// failed, and what waits for it, is done again.
    #[arg(long, conflicts_with_all = ["inputs", "resume", "only", "from"])]
    pub(super) rerun_failed: bool,
    /// Do only this stage, and what it needs; may be given several times. With `--resume` it is done again, whatever became
    /// of it before.
    #[arg(long, value_name = "STAGE", conflicts_with = "from")]
    pub(super) only: Vec<String>,
    /// Do this stage, all that waits for it, and what those need; may be given several times. With `--resume` it is done
    /// again with all that waits for it, whatever became of them before.
    #[arg(long, value_name = "STAGE")]
    pub(super) from: Vec<String>,
    /// How to report what happens.
    #[arg(long, value_enum, default_value_t = ReporterKind::Human)]
    pub(super) reporter: ReporterKind,
    /// Also write the XML of `JUnit` to this file, for CI that shows test results. An older report there is replaced.
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
}

impl Run {
    /// Which stages are meant.
    pub(super) fn selection(&self) -> Selection {
        match (self.only.is_empty(), self.from.is_empty()) {
            (false, _) => Selection::Only(self.only.clone()),
            (_, false) => Selection::From(self.from.clone()),
            _ => Selection::All,
        }
    }

    /// Why a run goes on, if one does.
    pub(super) fn resume_mode(&self) -> Option<ResumeMode> {
        match (self.rerun_failed, self.resume, self.selection()) {
            (true, ..) => Some(ResumeMode::RerunFailed),
            (_, true, Selection::All) => Some(ResumeMode::Finish),
            (_, true, _) => Some(ResumeMode::Stages),
            _ => None,
        }
    }
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

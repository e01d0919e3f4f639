//! Arguments of the commands that say what ran, what runs and what should have.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::value::Duration;

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Go on looking, and show each change: in place on a terminal, else one after the other.
    #[arg(long)]
    pub(super) watch: bool,
    /// Print it as JSON; with `--watch`, one object a line.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// Only runs of this pipeline file, or of pipelines of this name.
    #[arg(value_name = "FILE|PIPELINE")]
    pub(super) of: Option<String>,
    /// The newest so many.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(super) last: usize,
    /// Only those that ended so.
    #[arg(long, value_enum)]
    pub(super) outcome: Option<Ending>,
    /// Only those that started so long ago at most, such as `7d`, or since a day or time, such as `2026-11-24`.
    #[arg(long, value_name = "AGE|TIME")]
    pub(super) since: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// How a run ended, or what there is instead of an end.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Ending {
    Success,
    Warning,
    Failure,
    Skipped,
    Cancelled,
    Blocked,
    Running,
    Interrupted,
}

impl Ending {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Blocked => "blocked",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The id of the run, or at least 4 characters of its beginning or end; else the newest.
    pub(super) run: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Only the pipeline of this name.
    pub(super) pipeline: Option<String>,
    /// Count the newest so many runs of each pipeline.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = at_least_one)]
    pub(super) last: usize,
    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "write a number from 1".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct Stale {
    /// Pipeline files, or folders of them; else those that ever ran.
    #[arg(value_name = "FILE|DIR")]
    pub(super) paths: Vec<PathBuf>,
    /// Tell the channels of each late pipeline whose `notify` asks for `stale`, once for each due time that passed, and send
    /// what waits. For cron or a timer.
    #[arg(long)]
    pub(super) notify: bool,
    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Only say what would be removed.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Keep runs so long. The last good run of each pipeline stays.
    #[arg(long, value_name = "AGE", default_value = "90d")]
    pub(super) runs: Duration,
    /// Keep logs so long.
    #[arg(long, value_name = "AGE", default_value = "30d")]
    pub(super) logs: Duration,
    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::audit::Audit;
use super::explain::Explain;
use super::file::{Doctor, Graph, Init, Migrate, Plan, Schema, Validate, Versions};
use super::history::{Gc, History, Logs, Show, Stale, Stats, Status};
use super::keys::{Key, Open, Seal, Secret};
use super::notify::Notify;
use super::run::{Cancel, Run};

/// Runs versioned YAML pipelines that protect data: collect, seal, deliver, prove, record, tell.
#[derive(Debug, Parser)]
#[command(name = "tl", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Every error and warning has a code: `tl explain TL0207` says what it means, with an example.\n\n\
    Exit codes: 0 success, 1 a stage failed, 2 wrong file or command line, 3 warnings, 4 not proven, \
    10 destination missing, 11 busy, 12 wrong key, 20 audit log damaged, 75 nothing to do, 124 timed out, 130 cancelled."
)]
pub(super) struct Arguments {
    /// The state folder; by default `$TL_STATE`, else the platform's.
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a new pipeline from a template.
    Init(Init),
    /// Check pipeline files without running them.
    Validate(Validate),
    /// Explain an error or a warning by its code.
    Explain(Explain),
    /// Print the JSON Schema of pipeline files, or of one kind of stage.
    Schema(Schema),
    /// Show what a run would do, and in which order.
    Plan(Plan),
    /// Draw the graph of a pipeline.
    Graph(Graph),
    /// Run a pipeline, or a plan of one.
    Run(Run),
    /// Cancel a running pipeline.
    Cancel(Cancel),
    /// Show running and interrupted runs.
    Status(Status),
    /// List runs, newest first.
    History(History),
    /// Show one run in detail.
    Show(Show),
    /// Show the output of a run's programs.
    Logs(Logs),
    /// Show statistics for each pipeline.
    Stats(Stats),
    /// List pipelines that are overdue, as their `expect` says.
    Stale(Stale),
    /// Remove old runs, logs and work folders.
    Gc(Gc),
    /// Try what a pipeline needs, without running it: state folder, secrets, stores, channels, files, programs.
    Doctor(Doctor),
    /// Preview messages, test channels, send the outbox.
    #[command(subcommand)]
    Notify(Notify),
    /// Create and show identities.
    #[command(subcommand)]
    Key(Key),
    /// Seal a secret for a pipeline file, or check the secrets of one.
    #[command(subcommand)]
    Secret(Secret),
    /// Seal a file for recipients, as an age v1 file.
    Seal(Seal),
    /// Open an age v1 file with an identity.
    Open(Open),
    /// Verify and read the audit log.
    #[command(subcommand)]
    Audit(Audit),
    /// List, compare and restore the versions of a pipeline file that ran.
    Versions(Versions),
    /// Migrate pipeline files to a newer version of the language, keeping comments and layout.
    Migrate(Migrate),
    /// Print shell completions for tl.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write all pages to a folder.
    Man {
        /// The folder; created if missing.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

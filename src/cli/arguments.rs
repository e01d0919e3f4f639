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
    /// The folder for state; else `$TL_STATE`, else the platform's.
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a pipeline to begin with, from a template.
    Init(Init),
    /// Prove pipeline files without running them.
    Validate(Validate),
    /// Explain an error or a warning by its code.
    Explain(Explain),
    /// Print the JSON Schema of pipeline files, or of one kind of stage.
    Schema(Schema),
    /// Show what a run would do, in which order.
    Plan(Plan),
    /// Draw the graph of a pipeline.
    Graph(Graph),
    /// Run a pipeline, or a plan of one.
    Run(Run),
    /// End a run in order, from another terminal.
    Cancel(Cancel),
    /// Show what runs now, and what was interrupted.
    Status(Status),
    /// List runs, the newest first.
    History(History),
    /// Show all that is known of a run.
    Show(Show),
    /// Show what the programs of a run printed.
    Logs(Logs),
    /// Show how the runs of each pipeline went, in numbers.
    Stats(Stats),
    /// Say which pipelines have not succeeded in time, as their `expect` says.
    Stale(Stale),
    /// Remove old runs, logs and what is left of work.
    Gc(Gc),
    /// Try the secrets, stores and channels of a pipeline, without running it.
    Doctor(Doctor),
    /// Look at messages, try channels, send what waits.
    #[command(subcommand)]
    Notify(Notify),
    /// Make and show identities.
    #[command(subcommand)]
    Key(Key),
    /// Seal a secret for a pipeline file, and try those of one.
    #[command(subcommand)]
    Secret(Secret),
    /// Seal a file for recipients, as an age v1 file.
    Seal(Seal),
    /// Open an age v1 file with an identity.
    Open(Open),
    /// Verify and read the audit log.
    #[command(subcommand)]
    Audit(Audit),
    /// Show the texts that a pipeline file had when it ran, and bring one back.
    Versions(Versions),
    /// Bring pipeline files to a newer version of the language, with their comments and layout.
    Migrate(Migrate),
    /// Print what a shell needs to complete the commands of tl.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write all pages to a folder.
    Man {
        /// The folder; made where it is missing.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

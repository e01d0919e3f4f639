use std::path::PathBuf;

pub(super) use super::cancel::Cancel;
pub(super) use super::history_arguments::{Gc, History, Show, Stale, Stats, Status};
pub(super) use super::logs::Logs;
pub(super) use super::run_arguments::{ReporterKind, Run};
pub(super) use super::sealing_arguments::{Key, Open, Recipients, Seal, Secret, SecretSeal};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

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

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The template; without it, tl asks on a terminal.
    #[arg(long, value_name = "NAME")]
    pub(super) template: Option<String>,
    /// Print the names of the templates instead.
    #[arg(long, conflicts_with_all = ["template", "path"])]
    pub(super) list: bool,
    /// Print them as JSON.
    #[arg(long, requires = "list")]
    pub(super) json: bool,
    /// The file to write, or the folder for it; else this folder. A file that is there stays.
    #[arg(value_name = "FILE|DIR")]
    pub(super) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Pipeline files, or folders: then every `.yaml` and `.yml` file below that has a `version:` at its top.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(super) paths: Vec<PathBuf>,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) inputs: Inputs,
    /// Also try to read every secret. None is shown.
    #[arg(long)]
    pub(super) secrets: bool,
    /// Warnings count as errors.
    #[arg(long)]
    pub(super) strict: bool,
}

/// How to print findings.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// One JSON object.
    Json,
    /// Annotations of GitHub Actions.
    Github,
    /// A SARIF 2.1.0 log, for code scanning.
    Sarif,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The code, such as `TL0207`.
    #[arg(required_unless_present = "list")]
    pub(super) code: Option<String>,
    /// List every code with its title.
    #[arg(long, conflicts_with = "code")]
    pub(super) list: bool,
    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Only the settings and outputs of this kind of stage.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["event", "audit"])]
    pub(super) stage: Option<String>,
    /// The events of `tl run --reporter json` instead.
    #[arg(long, conflicts_with = "audit")]
    pub(super) event: bool,
    /// The lines of the audit log instead.
    #[arg(long)]
    pub(super) audit: bool,
}

#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// The value of an input; may be given several times.
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(super) inputs: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The pipeline file.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) inputs: Inputs,
    /// Print the plan as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Also write it to a file, to which `tl run PLAN` then holds the run. An older plan there is replaced.
    #[arg(long, value_name = "PLAN")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Graph {
    /// The pipeline file.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) inputs: Inputs,
    /// How to draw it.
    #[arg(long, value_enum, default_value_t = Drawing::Mermaid)]
    pub(super) format: Drawing,
    /// Write it to this file, in place of what the file holds; else to standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

/// How to draw a graph.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Drawing {
    /// A flowchart that GitHub and GitLab show.
    Mermaid,
    /// The language of Graphviz.
    Dot,
    /// Nodes and edges.
    Json,
    /// A picture.
    Svg,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The pipeline file.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) inputs: Inputs,
    /// Print what was found as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Notify {
    /// Show the messages of a file as they would be. Sends nothing.
    Preview {
        /// The pipeline file.
        file: PathBuf,
        /// The occasion.
        #[arg(long, value_enum)]
        when: Occasion,
        /// Print the HTML form instead of the text.
        #[arg(long)]
        html: bool,
        /// Print all of it as JSON.
        #[arg(long, conflicts_with = "html")]
        json: bool,
    },
    /// Send a test message to the channels of a file, and print what each answered.
    Test {
        /// The pipeline file.
        file: PathBuf,
        /// Only to this channel.
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
        #[command(flatten)]
        inputs: Inputs,
        /// Print the answers as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send what waits in the outbox and is due.
    Flush {
        /// Also what is to wait longer, and what was given up.
        #[arg(long)]
        all: bool,
        /// Print what came of it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print what is in the outbox: what waits, what was given up, what was delivered in the last 30 days.
    List {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What people are told of.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Occasion {
    Started,
    Success,
    Warning,
    Failure,
    Skipped,
    Cancelled,
    Blocked,
    Recovered,
    Stale,
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Read the whole log and prove that it is what was signed.
    Verify {
        /// Print what was found as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print records.
    Show {
        /// Only of this run.
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
        /// Only of this type, or below it: `run` means `run.started` too.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only the last so many.
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Print them as they stand in the log: one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// After damage: put the log aside, whole, and begin a new one that says so.
    Accept {
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Versions {
    /// The pipeline file.
    #[arg(required = true)]
    pub(super) file: Option<PathBuf>,
    /// Print the list as JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Option<VersionsCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum VersionsCommand {
    /// Show how a version differs from another one, or from the file as it is.
    Diff {
        /// The pipeline file.
        file: PathBuf,
        /// The number of a version.
        #[arg(value_name = "A")]
        from: u32,
        /// The number of another one.
        #[arg(value_name = "B")]
        to: Option<u32>,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the text of a version to the file. What the file holds is kept as a version first.
    Restore {
        /// The pipeline file.
        file: PathBuf,
        /// The number of the version.
        #[arg(value_name = "N")]
        number: u32,
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Pipeline files.
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
    /// The version to bring them to; else the newest.
    #[arg(long, value_name = "N")]
    pub(super) to: Option<i64>,
    /// Only look: exit code 2 when a file would change.
    #[arg(long, conflicts_with = "yes")]
    pub(super) check: bool,
    /// Do it without asking.
    #[arg(long)]
    pub(super) yes: bool,
}

//! Arguments of the commands that make identities, and seal and open with them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::value::Name;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Key {
    /// Make an identity: a file with mode 0600 that opens what is sealed for its recipient.
    New {
        /// Where to keep it.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Write its recipient to this file too.
        #[arg(long, value_name = "FILE")]
        recipients: Option<PathBuf>,
        /// Leave a file that is there as it is, and succeed.
        #[arg(long)]
        if_missing: bool,
    },
    /// Print the recipients of the identities in a file.
    Show {
        /// The file of identities.
        file: PathBuf,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Secret {
    /// Seal a value from standard input, and print what to paste under `secrets:` of a pipeline file.
    Seal(SecretSeal),
    /// Try each secret of a file: say where it comes from and whether it is there, never its value.
    Check {
        /// The pipeline file.
        file: PathBuf,
        /// Print what was found as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SecretSeal {
    #[command(flatten)]
    pub(in crate::cli) to: Recipients,
    /// The file of the identity that opens it, as the pipeline file is to name it. Without `-r` and `-R`, whom to seal for.
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) identity: Option<PathBuf>,
    /// What the pipeline file calls it.
    #[arg(default_value = "secret")]
    pub(in crate::cli) name: Name,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Seal {
    #[command(flatten)]
    pub(in crate::cli) to: Recipients,
    #[command(flatten)]
    pub(in crate::cli) files: Files,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Recipients {
    /// Who may open it; may be given several times.
    #[arg(short, long, value_name = "RECIPIENT")]
    pub(in crate::cli) recipient: Vec<String>,
    /// A file of recipients, one a line; may be given several times.
    #[arg(short = 'R', long, value_name = "FILE")]
    pub(in crate::cli) recipients_file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Open {
    /// A file of identities; may be given several times.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(in crate::cli) identity: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) files: Files,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Files {
    /// Where to write; `-` or nothing is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(short, long)]
    pub(in crate::cli) force: bool,
    /// What to read; `-` or nothing is standard input.
    pub(in crate::cli) file: Option<PathBuf>,
}

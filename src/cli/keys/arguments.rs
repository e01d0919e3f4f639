//! Arguments of the commands that make identities, and seal and open with them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::value::Name;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Key {
    /// Create an identity: a file with mode 0600 that opens what is sealed for its recipient.
    New {
        /// The file to write the identity to.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Also write its recipient to this file.
        #[arg(long, value_name = "FILE")]
        recipients: Option<PathBuf>,
        /// Keep an existing file, and succeed.
        #[arg(long)]
        if_missing: bool,
    },
    /// Print the recipients of the identities in a file.
    Show {
        /// The identity file.
        file: PathBuf,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Secret {
    /// Seal a value from standard input, and print the lines to paste under `secrets:` of a pipeline file.
    Seal(SecretSeal),
    /// Check each secret of a file: print where it comes from and whether it is there, never its value.
    Check {
        /// The pipeline file.
        file: PathBuf,
        /// Print the results as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SecretSeal {
    #[command(flatten)]
    pub(in crate::cli) to: Recipients,
    /// The identity file that opens it, as the pipeline file names it. Without `-r` and `-R`, also the recipient.
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) identity: Option<PathBuf>,
    /// The name of the secret in the pipeline file.
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
    /// A recipient, who can open it; can be repeated.
    #[arg(short, long, value_name = "RECIPIENT")]
    pub(in crate::cli) recipient: Vec<String>,
    /// A file of recipients, one a line; can be repeated.
    #[arg(short = 'R', long, value_name = "FILE")]
    pub(in crate::cli) recipients_file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Open {
    /// An identity file; can be repeated.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(in crate::cli) identity: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) files: Files,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Files {
    /// The file to write; by default, or with `-`, standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Replace an existing file.
    #[arg(short, long)]
    pub(in crate::cli) force: bool,
    /// The file to read; by default, or with `-`, standard input.
    pub(in crate::cli) file: Option<PathBuf>,
}

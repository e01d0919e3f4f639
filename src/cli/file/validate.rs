use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::cli::done::Done;
use crate::cli::inputs::Inputs;
use crate::diagnostic::{ExitCode, Severity};
use crate::inspect::{self, ValidateOptions, Validation};
use crate::report::{Output, render_counts, render_github, render_sarif};
#[derive(Debug, Args)]
pub(in crate::cli) struct Validate {
    /// Pipeline files or folders. In a folder, every `.yaml` and `.yml` file with a top-level `version:` is one.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(in crate::cli) format: Format,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) inputs: Inputs,
    /// Also check that every secret can be read. None is shown.
    #[arg(long)]
    pub(in crate::cli) secrets: bool,
    /// Treat warnings as errors.
    #[arg(long)]
    pub(in crate::cli) strict: bool,
}

/// How to print findings.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Format {
    /// For people.
    Human,
    /// One JSON object.
    Json,
    /// GitHub Actions annotations.
    Github,
    /// A SARIF 2.1.0 log, for code scanning.
    Sarif,
}

/// Prints what it finds in the wanted format, and exits with 2 if a file is refused. Warnings are shown here and never by
/// `run`: they are for the author of the file.
pub(in crate::cli) fn validate(command: &Validate, state: Option<&Path>, output: &mut Output) -> Done {
    let validation = match command.inputs.values() {
        Ok(inputs) => inspect::validate(&command.paths, &ValidateOptions { inputs, secrets: command.secrets, state }),
        Err(problems) => Validation::refused(problems),
    };
    match validation.passed_over {
        0 => {}
        1 => output.hint("1 file was passed over: it is no pipeline"),
        more => output.hint(&format!("{more} files were passed over: they are no pipelines")),
    }
    match if command.json { Format::Json } else { command.format } {
        Format::Human => print(&validation, output),
        Format::Json => output.json(&validation)?,
        Format::Github => output.text(&render_github(&validation.findings)),
        Format::Sarif => output.json(&render_sarif(&validation.findings))?,
    }
    let refused = validation.count(Severity::Error) > 0 || command.strict && !validation.findings.is_empty();
    Ok(if refused { ExitCode::Usage } else { ExitCode::Success })
}

fn print(validation: &Validation, output: &mut Output) {
    validation.sound().for_each(|file| output.line(&format!("{file}: fine")));
    validation.findings.iter().for_each(|finding| output.problem(&finding.problem));
    if !validation.findings.is_empty() {
        output.hint(&render_counts(validation));
    }
}

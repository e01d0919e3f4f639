use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::confirm::confirm;
use crate::cli::atomic_file::{Rewrite, require_one_name, rewrite};
use crate::cli::done::Done;
use crate::cli::state::state_dir;
use crate::diagnostic::{Diagnostic, codes};
use crate::pipeline::read_regular;
use crate::report::{Output, Style, render_diff, render_versions};
use crate::run::{History, place_of};
use crate::state::Version;
use crate::value::hex;
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(in crate::cli) struct Versions {
    /// The pipeline file.
    #[arg(required = true)]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Print the list as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(subcommand)]
    pub(in crate::cli) command: Option<VersionsCommand>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum VersionsCommand {
    /// Compare a version with another one, or with the current file.
    Diff {
        /// The pipeline file.
        file: PathBuf,
        /// The number of a version.
        #[arg(value_name = "A")]
        from: u32,
        /// The number of another version; by default the current file.
        #[arg(value_name = "B")]
        to: Option<u32>,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a version back to the file. The current text is kept as a version first.
    Restore {
        /// The pipeline file.
        file: PathBuf,
        /// The number of the version.
        #[arg(value_name = "N")]
        number: u32,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(in crate::cli) fn versions(command: &Versions, state: Option<&Path>, output: &mut Output) -> Done {
    let state = state_dir(state)?;
    let history = |file: &Path| History::read(state, file).map_err(|error| vec![error]);
    match (&command.command, &command.file) {
        (Some(VersionsCommand::Diff { file, from, to, json }), _) => {
            diff(&history(file)?, file, *from, *to, *json, output)
        }
        (Some(VersionsCommand::Restore { file, number, yes }), _) => {
            restore(&history(file)?, file, *number, *yes, output)
        }
        (None, file) => {
            let file = file.as_deref().unwrap_or(Path::new(""));
            list(&history(file)?, file, command.json, output)
        }
    }
}

fn list(history: &History, file: &Path, as_json: bool, output: &mut Output) -> Done {
    let present = present(file)?.map(|content| hex(&Sha256::digest(content)));
    if as_json {
        let entry = |version: &Version| {
            json!({
                "number": version.number, "pipeline": version.pipeline, "sha256": version.sha256, "kept": version.kept,
                "first_used": version.first_used, "last_used": version.last_used,
                "present": present.as_ref() == Some(&version.sha256),
            })
        };
        let entries: Vec<Json> = history.versions().iter().map(entry).collect();
        output.json(&json!({ "path": place_of(file).display().to_string(), "versions": entries }))?;
    } else if history.versions().is_empty() {
        output.hint("no run of this file has kept its text here");
    } else {
        output.text(&render_versions(history.versions(), present.as_deref(), output.style()));
    }
    Ok(0)
}

fn diff(history: &History, file: &Path, from: u32, to: Option<u32>, as_json: bool, output: &mut Output) -> Done {
    let old = history.text(from).map_err(|error| vec![error])?;
    let (to_name, new) = match to {
        Some(number) => (version_of(file, number), history.text(number).map_err(|error| vec![error])?),
        None => (file.display().to_string(), present(file)?.ok_or_else(|| vec![gone(file)])?),
    };
    let from_name = version_of(file, from);
    let style = if as_json { Style::default() } else { output.style() };
    let text = render_diff((&from_name, &old), (&to_name, &new), style);
    if as_json {
        output.json(&json!({ "from": from_name, "to": to_name, "differ": old != new, "diff": text }))?;
    } else {
        output.text(&text);
    }
    Ok(0)
}

fn restore(history: &History, file: &Path, number: u32, yes: bool, output: &mut Output) -> Done {
    let old = history.text(number).map_err(|error| vec![error])?;
    let present = present(file)?;
    if present.as_ref() == Some(&old) {
        output.line(&format!("{} has the text of version {number} already", file.display()));
        return Ok(0);
    }
    require_one_name(file)?;
    let (now, then) = (present.as_deref().unwrap_or_default(), version_of(file, number));
    output.text(&render_diff((&file.display().to_string(), now), (&then, &old), output.style()));
    if !confirm(&format!("write version {number} to {}?", file.display()), yes, output)? {
        output.hint(&format!("{} was left as it is", file.display()));
        return Ok(75);
    }
    // Keep the present text first: from here on, both texts survive whatever happens.
    let kept =
        present.as_ref().map(|content| history.keep_present(content)).transpose().map_err(|error| vec![error])?;
    rewrite(&Rewrite { file, from: present.as_deref(), to: &old })?;
    let kept = kept.map(|kept| format!("; what it held is version {kept}")).unwrap_or_default();
    output.line(&format!("{} has the text of version {number} again{kept}", file.display()));
    Ok(0)
}

fn version_of(file: &Path, number: u32) -> String {
    format!("{} version {number}", file.display())
}

/// The content of a file; `None` if it is missing. Fails if it is no regular file.
fn present(file: &Path) -> Result<Option<Vec<u8>>, Vec<Diagnostic>> {
    if fs::metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    read_regular(file, &file.display().to_string()).map(Some).map_err(|error| vec![error])
}

fn gone(file: &Path) -> Diagnostic {
    Diagnostic::failure(codes::TL0710, format!("there is no file `{}` to compare with", file.display()))
        .help("name a second version")
}

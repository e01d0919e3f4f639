use std::collections::HashSet;
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
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::inspect::History;
use crate::pipeline::read_regular;
use crate::report::{Output, Style, render_diff, render_versions};
use crate::state::{Text, Version};
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
    /// Write a version back to the file and the files that it extends. Their current texts are kept as a version first.
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
    let own = sha256_of(present(file)?);
    // A version is the present one if all its files are as they were.
    let is_present = |version: &Version| {
        let same =
            |(path, sha256): &(PathBuf, String)| present(path).is_ok_and(|now| sha256_of(now).as_ref() == Some(sha256));
        own.as_ref() == Some(&version.sha256) && version.bases.iter().all(same)
    };
    let versions: Vec<(&Version, bool)> =
        history.versions().iter().map(|version| (version, is_present(version))).collect();
    if as_json {
        let entry = |(version, present): &(&Version, bool)| {
            let bases: Vec<Json> = version
                .bases
                .iter()
                .map(|(path, sha256)| json!({ "path": path.display().to_string(), "sha256": sha256 }))
                .collect();
            json!({
                "number": version.number, "pipeline": version.pipeline, "sha256": version.sha256, "extends": bases,
                "kept": version.kept, "first_used": version.first_used, "last_used": version.last_used,
                "present": present,
            })
        };
        let entries: Vec<Json> = versions.iter().map(entry).collect();
        output.json(&json!({ "path": history.path().display().to_string(), "versions": entries }))?;
    } else if versions.is_empty() {
        output.hint("no run of this file has kept its text here");
    } else {
        output.text(&render_versions(&versions, output.style()));
    }
    Ok(ExitCode::Success)
}

fn sha256_of(content: Option<Vec<u8>>) -> Option<String> {
    content.map(|content| hex(&Sha256::digest(content)))
}

fn diff(history: &History, file: &Path, from: u32, to: Option<u32>, as_json: bool, output: &mut Output) -> Done {
    let old = history.texts(from).map_err(|error| vec![error])?;
    let new = match to {
        Some(number) => history.texts(number).map_err(|error| vec![error])?,
        None => present_texts(&old, file)?,
    };
    let style = if as_json { Style::default() } else { output.style() };
    let name = |path: &Path| if path == history.path() { file.to_owned() } else { path.to_owned() };
    let content = |texts: &[Text], path: &Path| {
        texts.iter().find(|text| text.path == path).map(|text| text.content.clone()).unwrap_or_default()
    };
    let mut paths: Vec<&Path> = old.iter().chain(&new).map(|text| text.path.as_path()).collect();
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(*path));
    let (mut text, mut differ) = (String::new(), false);
    for path in paths {
        let (before, after) = (content(&old, path), content(&new, path));
        let after_name = to.map_or_else(|| name(path).display().to_string(), |number| version_of(&name(path), number));
        text.push_str(&render_diff((&version_of(&name(path), from), &before), (&after_name, &after), style));
        differ |= before != after;
    }
    if as_json {
        let to_name = to.map_or_else(|| file.display().to_string(), |number| version_of(file, number));
        output.json(&json!({ "from": version_of(file, from), "to": to_name, "differ": differ, "diff": text }))?;
    } else {
        output.text(&text);
    }
    Ok(ExitCode::Success)
}

/// What the files of a version hold now. Fails if the pipeline file is gone.
fn present_texts(version: &[Text], file: &Path) -> Result<Vec<Text>, Vec<Diagnostic>> {
    let mut texts = Vec::new();
    for (position, Text { path, .. }) in version.iter().enumerate() {
        match present(path)? {
            Some(content) => texts.push(Text { path: path.clone(), content }),
            None if position == 0 => return Err(vec![gone(file)]),
            None => {}
        }
    }
    Ok(texts)
}

/// A file whose text a restore replaces.
struct Change<'a> {
    file: &'a Path,
    present: Option<Vec<u8>>,
    old: &'a [u8],
}

fn restore(history: &History, file: &Path, number: u32, yes: bool, output: &mut Output) -> Done {
    let texts = history.texts(number).map_err(|error| vec![error])?;
    let mut before = Vec::new();
    let mut changes = Vec::new();
    for (position, Text { path, content }) in texts.iter().enumerate() {
        let file = if position == 0 { file } else { path };
        let present = present(file)?;
        // A pipeline file that is gone has no text to keep, but its bases do: they are kept beside the text that it gets.
        if position == 0 || present.is_some() {
            before.push(Text { path: path.clone(), content: present.clone().unwrap_or_else(|| content.clone()) });
        }
        if present.as_ref() != Some(content) {
            changes.push(Change { file, present, old: content });
        }
    }
    if changes.is_empty() {
        output.line(&format!("{} has the text of version {number} already", file.display()));
        return Ok(ExitCode::Success);
    }
    let mut agreed = Vec::new();
    for change in changes {
        let name = change.file.display().to_string();
        require_one_name(change.file)?;
        let now = change.present.as_deref().unwrap_or_default();
        output.text(&render_diff((&name, now), (&version_of(change.file, number), change.old), output.style()));
        if confirm(&format!("write version {number} to {name}?"), yes, output)? {
            agreed.push(change);
        } else {
            output.hint(&format!("{name} was left as it is"));
        }
    }
    if agreed.is_empty() {
        return Ok(ExitCode::NothingDone);
    }
    // Before anything is replaced: whatever happens from here on, both texts are there.
    let is_replaced = agreed.iter().any(|change| change.present.is_some());
    let kept = is_replaced.then(|| history.keep_present(&before)).transpose().map_err(|error| vec![error])?;
    for Change { file, present, old } in agreed {
        rewrite(&Rewrite { file, from: present.as_deref(), to: old })?;
        let kept = kept.filter(|_| present.is_some()).map(|kept| format!("; what it held is version {kept}"));
        let kept = kept.unwrap_or_default();
        output.line(&format!("{} has the text of version {number} again{kept}", file.display()));
    }
    Ok(ExitCode::Success)
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

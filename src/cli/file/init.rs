use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::atomic_file::{exists, unwritable};
use crate::cli::done::Done;
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::expression::did_you_mean;
use crate::init::{TEMPLATES, Template, find};
use crate::report::{Output, shell_word};
#[derive(Debug, Args)]
pub(in crate::cli) struct Init {
    /// The template; by default, tl asks on a terminal.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) template: Option<String>,
    /// Print the names of the templates instead.
    #[arg(long, conflicts_with_all = ["template", "path"])]
    pub(in crate::cli) list: bool,
    /// Print them as JSON.
    #[arg(long, requires = "list")]
    pub(in crate::cli) json: bool,
    /// The file to write, or its folder; by default the current folder. An existing file is not replaced.
    #[arg(value_name = "FILE|DIR")]
    pub(in crate::cli) path: Option<PathBuf>,
}

pub(in crate::cli) fn init(command: &Init, output: &mut Output) -> Done {
    if command.list {
        return list(command.json, output);
    }
    let template = match &command.template {
        Some(name) => named(name)?,
        None => ask(output)?,
    };
    let path = target(command.path.as_deref(), template);
    let name = shell_word(&path.to_string_lossy());
    // The name stands in a comment, which a line end in the name would end.
    let commented = if path.to_string_lossy().contains(char::is_control) { template.file } else { &name };
    create(&path, &template.text(commented))?;
    let recipients = shell_word(&path.with_file_name("recipients.txt").to_string_lossy());
    output.line(&format!("wrote {}: its comments say what to change. Then:", path.display()));
    output.line(&format!("  tl key new -o identity.txt --recipients {recipients}"));
    output.line(&format!("  tl doctor {name}"));
    output.line(&format!("  tl run {name}"));
    output.hint("the first is better done on another machine: only the recipients are needed here");
    Ok(ExitCode::Success)
}

fn list(as_json: bool, output: &mut Output) -> Done {
    if as_json {
        let entry = |template: &Template| json!({ "name": template.name(), "description": template.description() });
        output.json(&json!({ "templates": TEMPLATES.iter().map(entry).collect::<Vec<_>>() }))?;
    } else {
        lines().iter().for_each(|line| output.line(line));
    }
    Ok(ExitCode::Success)
}

/// The names and descriptions of the templates, in columns.
fn lines() -> Vec<String> {
    let widest = TEMPLATES.iter().map(|template| template.name().len()).max().unwrap_or_default();
    TEMPLATES.iter().map(|template| format!("{:widest$}  {}", template.name(), template.description())).collect()
}

fn named(name: &str) -> Result<&'static Template, Vec<Diagnostic>> {
    find(name).ok_or_else(|| {
        let near = did_you_mean(name, TEMPLATES.iter().map(Template::name));
        let help = near.map_or_else(
            || "`tl init --list` prints the names".to_owned(),
            |near| format!("did you mean `{near}`? `tl init --list` prints all"),
        );
        vec![Diagnostic::usage(codes::TL0740, format!("there is no template `{}`", name.escape_debug())).help(help)]
    })
}

fn ask(output: &mut Output) -> Result<&'static Template, Vec<Diagnostic>> {
    let unnamed = || {
        let help = format!("add `--template NAME`, one of:\n{}", lines().join("\n"));
        vec![Diagnostic::usage(codes::TL0741, "no template is named").help(help)]
    };
    if !output.asks() {
        return Err(unnamed());
    }
    for (number, line) in lines().iter().enumerate() {
        output.hint(&format!("{:2}  {line}", number + 1));
    }
    let answer = output.ask("which one (name or number)?").filter(|answer| !answer.is_empty()).ok_or_else(unnamed)?;
    match answer.parse::<usize>() {
        Ok(number) if (1..=TEMPLATES.len()).contains(&number) => Ok(&TEMPLATES[number - 1]),
        _ => named(&answer),
    }
}

/// The file to write: `path`, or a file in it if it is a folder.
fn target(path: Option<&Path>, template: &Template) -> PathBuf {
    match path {
        None => PathBuf::from(template.file),
        Some(path) if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => path.join(template.file),
        Some(path) => path.to_owned(),
    }
}

/// Writes a new file with the usual mode: it holds no secret.
fn create(path: &Path, text: &str) -> Result<(), Vec<Diagnostic>> {
    let written = fs::create_dir_all(path.parent().unwrap_or(path)).and_then(|()| {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        let taken = error.kind() == io::ErrorKind::AlreadyExists && path.symlink_metadata().is_ok();
        vec![if taken { exists(path, "name another file") } else { unwritable(path, &error) }]
    })
}

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Subcommand, ValueEnum};

use super::done::Done;
use super::inputs::Inputs;
use super::state::state_dir;
use crate::diagnostic::ExitCode;
use crate::inspect;
use crate::notify::{self, Flushed};
use crate::pipeline::When;
use crate::report::{Output, render_outbox, render_preview};
use crate::state::StateDir;
#[derive(Debug, Subcommand)]
pub(super) enum Notify {
    /// Show the messages of a file with made-up values. Sends nothing.
    Preview {
        /// The pipeline file.
        file: PathBuf,
        /// When the message would be sent.
        #[arg(long, value_enum)]
        when: When,
        /// Print the HTML form instead of the text.
        #[arg(long)]
        html: bool,
        /// Print everything as JSON.
        #[arg(long, conflicts_with = "html")]
        json: bool,
    },
    /// Send a test message to each channel of a file, and print its answer.
    Test {
        /// The pipeline file.
        file: PathBuf,
        /// Only test this channel.
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
        #[command(flatten)]
        inputs: Inputs,
        /// Print the answers as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send the messages in the outbox that are due.
    Flush {
        /// Include messages scheduled later or given up.
        #[arg(long)]
        all: bool,
        /// Print the results as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the outbox: messages that wait, were given up, or were delivered in the last 30 days.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `--when` takes the occasions that `notify` has in a pipeline file.
impl ValueEnum for When {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Started,
            Self::Success,
            Self::Warning,
            Self::Failure,
            Self::Skipped,
            Self::Cancelled,
            Self::Blocked,
            Self::Recovered,
            Self::Stale,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.word()))
    }
}

pub(super) fn notify(command: &Notify, state: Option<&Path>, output: &mut Output) -> Done {
    match command {
        Notify::Preview { file, when, html, json } => preview(file, *when, *html, *json, output),
        Notify::Test { file, channel, inputs, json } => test(file, channel.as_deref(), inputs, *json, output),
        Notify::Flush { all, json } => flush(&state_dir(state)?, *all, *json, output),
        Notify::List { json } => list(&state_dir(state)?, *json, output),
    }
}

fn preview(file: &Path, when: When, html: bool, json: bool, output: &mut Output) -> Done {
    let previews = inspect::preview(file, when)?;
    if json {
        output.json(&previews)?;
        return Ok(ExitCode::Success);
    }
    for preview in &previews {
        match &preview.html {
            Some(text) if html => output.text(text),
            None if html => output.hint(&format!("{}: no `template-html`, so there is no HTML", preview.to.join(", "))),
            _ => output.text(&render_preview(preview, output.style())),
        }
    }
    Ok(ExitCode::Success)
}

fn test(file: &Path, channel: Option<&str>, inputs: &Inputs, json: bool, output: &mut Output) -> Done {
    let tested = notify::test(file, &inputs.values()?, channel)?;
    let failed = tested.iter().any(|tested| tested.error.is_some());
    if json {
        output.json(&BTreeMap::from([("channels", &tested)]))?;
        return Ok(ExitCode::failed_if(failed));
    }
    for tested in &tested {
        match (&tested.delivered, &tested.error) {
            (_, Some(error)) => output.problem(error),
            (how, None) => output.line(&format!("{}: {}", tested.channel, how.as_deref().unwrap_or_default())),
        }
    }
    if tested.is_empty() {
        output.hint("the file has no channels");
    }
    Ok(ExitCode::failed_if(failed))
}

fn flush(state: &StateDir, all: bool, json: bool, output: &mut Output) -> Done {
    let flushed = notify::flush(state, all)?;
    if json {
        output.json(&flushed)?;
        return Ok(ExitCode::failed_if(flushed.is_lacking()));
    }
    print_sent(&flushed, output);
    if flushed.tried.is_empty() && flushed.problems.is_empty() {
        output.hint("nothing is due");
    }
    Ok(ExitCode::failed_if(flushed.is_lacking()))
}

/// Prints the result of each message.
pub(super) fn print_sent(flushed: &Flushed, output: &mut Output) {
    for tried in &flushed.tried {
        match &tried.error {
            Some(error) => output.problem(error),
            None => output.line(&format!(
                "{} to {}: {}",
                tried.id,
                tried.channel,
                tried.delivered.as_deref().unwrap_or_default()
            )),
        }
    }
    flushed.problems.iter().for_each(|problem| output.problem(problem));
}

fn list(state: &StateDir, json: bool, output: &mut Output) -> Done {
    let entries = notify::list(state)?;
    if json {
        output.json(&BTreeMap::from([("messages", &entries)]))?;
    } else if entries.is_empty() {
        output.hint("the outbox is empty");
    } else {
        output.text(&render_outbox(&entries, output.style()));
    }
    Ok(ExitCode::Success)
}

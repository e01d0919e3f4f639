use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::json;

use super::arguments::{Secret, SecretSeal};
use super::key::identity_problem;
use super::seal::recipients;
use super::secret_input::{ask, read_piped};
use crate::cli::done::Done;
use crate::crypto;
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::inspect;
use crate::open::{NUL_SECRET, SHORT_SECRET, SHORTEST_SECRET};
use crate::report::{Output, render_secrets};
use crate::value;

pub(in crate::cli) fn secret(command: &Secret, output: &mut Output) -> Done {
    match command {
        Secret::Seal(command) => seal(command, output),
        Secret::Check { file, json } => check(file, *json, output),
    }
}

/// The placeholder for the identity file when none is named.
const SOME_IDENTITY: &str = "identity.txt";

fn seal(command: &SecretSeal, output: &mut Output) -> Done {
    let recipients = recipients_for(command)?;
    let value = if io::stdin().is_terminal() { ask_twice(output)? } else { read_piped()? };
    check_value(&value)?;
    let mut sealed = Vec::new();
    crypto::seal(&recipients, &mut value.expose().as_bytes(), &mut sealed, NonZeroUsize::MIN)
        .map_err(|error| vec![error.into()])?;
    let identity = command.identity.as_deref().unwrap_or(Path::new(SOME_IDENTITY));
    let lines: String = crypto::armor(&sealed).lines().map(|line| format!("      {line}\n")).collect();
    // A JSON string is a YAML string, whatever the path holds.
    let identity = json!(identity.to_string_lossy());
    output.text(&format!("  {}:\n    from: sealed\n    identity: {identity}\n    value: |\n{lines}", command.name));
    if command.identity.is_none() {
        output.hint(&format!("write the file of the identity that opens it in place of `{SOME_IDENTITY}`"));
    }
    Ok(ExitCode::Success)
}

/// The named recipients, else those of the identity.
fn recipients_for(command: &SecretSeal) -> Result<Vec<crypto::Recipient>, Vec<Diagnostic>> {
    let to = &command.to;
    match &command.identity {
        Some(identity) if to.recipient.is_empty() && to.recipients_file.is_empty() => {
            let identities = crypto::read_identities(identity).map_err(|error| vec![identity_problem(&error)])?;
            Ok(identities.iter().map(crypto::Identity::recipient).collect())
        }
        _ => recipients(to),
    }
}

/// Refuses a value that a run would refuse.
fn check_value(value: &value::Secret) -> Result<(), Vec<Diagnostic>> {
    match value.expose().trim().len() {
        0 => Err(vec![
            Diagnostic::usage(codes::TL0735, "there is nothing to seal: the value is empty")
                .help("give it on standard input, or type it"),
        ]),
        length if length < SHORTEST_SECRET => {
            let message = format!("the value is shorter than {SHORTEST_SECRET} bytes");
            Err(vec![Diagnostic::usage(codes::TL0511, message).help(SHORT_SECRET)])
        }
        _ if value.expose().contains('\0') => {
            Err(vec![Diagnostic::usage(codes::TL0516, "the value holds a NUL byte").help(NUL_SECRET)])
        }
        _ => Ok(()),
    }
}

fn ask_twice(output: &mut Output) -> Result<value::Secret, Vec<Diagnostic>> {
    let value = ask("value: ", output)?;
    // Do not ask again for a value that is refused.
    check_value(&value)?;
    if ask("again: ", output)? == value {
        return Ok(value);
    }
    Err(vec![Diagnostic::usage(codes::TL0736, "the two values differ").help("start again")])
}

fn check(file: &Path, as_json: bool, output: &mut Output) -> Done {
    let found = inspect::check_secrets(file)?;
    if as_json {
        output.json(&BTreeMap::from([("secrets", &found)]))?;
    } else {
        output.text(&render_secrets(&found, output.style()));
    }
    let problems: Vec<Diagnostic> = found.into_iter().filter_map(|secret| secret.error).collect();
    match problems.first() {
        Some(first) if as_json => Ok(first.kind.exit_code()),
        Some(_) => Err(problems),
        None => Ok(ExitCode::Success),
    }
}

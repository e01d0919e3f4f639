use std::fs;
use std::path::Path;

use serde_json::json;

use super::Done;
use super::arguments::Key;
use crate::crypto::{Identity, IdentityFileError, create_identity, read_identities};
use crate::diagnostic::{Diagnostic, Kind};
use crate::report::Output;

pub(super) fn key(command: &Key, output: &mut Output) -> Done {
    match command {
        Key::New { output: path, recipients, if_missing } => new(path, recipients.as_deref(), *if_missing, output),
        Key::Show { file, json } => show(file, *json, output),
    }
}

fn new(path: &Path, recipients: Option<&Path>, if_missing: bool, output: &mut Output) -> Done {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let identity = match create_identity(path, &now) {
        Ok(identity) => {
            output.hint(&format!("made the identity `{}`: keep a copy of it in a safe place", path.display()));
            output.hint("whoever has it can open what is sealed for it; without it, nobody can");
            identity
        }
        Err(IdentityFileError::Exists(_)) if if_missing => {
            output.hint(&format!("the identity `{}` is there already", path.display()));
            first(path)?
        }
        Err(error) => return Err(vec![identity_problem(&error)]),
    };
    let recipient = identity.recipient().to_string();
    if let Some(path) = recipients {
        fs::write(path, format!("{recipient}\n")).map_err(|error| {
            let message = format!("the recipient could not be written to `{}`", path.display());
            vec![Diagnostic::failure("TL0621", message).cause(&error)]
        })?;
    }
    output.text(&format!("{recipient}\n"));
    Ok(0)
}

fn first(path: &Path) -> Result<Identity, Vec<Diagnostic>> {
    let mut identities = read_identities(path).map_err(|error| vec![identity_problem(&error)])?;
    Ok(identities.swap_remove(0))
}

fn show(path: &Path, as_json: bool, output: &mut Output) -> Done {
    let identities = read_identities(path).map_err(|error| vec![identity_problem(&error)])?;
    let recipients: Vec<String> = identities.iter().map(|identity| identity.recipient().to_string()).collect();
    if as_json {
        output.json(&json!({ "recipients": recipients }));
    } else {
        output.text(&recipients.iter().map(|recipient| format!("{recipient}\n")).collect::<String>());
    }
    Ok(0)
}

/// What is wrong with a file of identities.
pub(super) fn identity_problem(error: &IdentityFileError) -> Diagnostic {
    let (kind, help) = match error {
        IdentityFileError::Exists(_) => (Kind::Failure, "name another file; an identity is never overwritten"),
        IdentityFileError::Exposed { .. } => (Kind::Key, "an identity is for its owner's eyes only"),
        IdentityFileError::Content { .. } => (Kind::Key, "a file of identities has `AGE-SECRET-KEY-1…` lines"),
        IdentityFileError::Io { .. } => (Kind::Key, "check the path, owner and mode"),
    };
    let diagnostic = Diagnostic::new("TL0621", kind, error.to_string()).help(help);
    match std::error::Error::source(error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

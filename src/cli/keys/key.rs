use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::arguments::Key;
use crate::cli::done::Done;
use crate::crypto::{IdentityFileError, create_identity, read_identities};
use crate::diagnostic::{Diagnostic, ExitCode, Kind, codes};
use crate::report::Output;

pub(in crate::cli) fn key(command: &Key, output: &mut Output) -> Done {
    match command {
        Key::New { output: path, recipients, if_missing } => new(path, recipients.as_deref(), *if_missing, output),
        Key::Show { file, json } => show(file, *json, output),
    }
}

fn new(path: &Path, recipients: Option<&Path>, if_missing: bool, output: &mut Output) -> Done {
    if path.symlink_metadata().is_ok() {
        if !if_missing {
            return Err(vec![identity_problem(&IdentityFileError::Exists(path.to_owned()))]);
        }
        output.hint(&format!("the identity `{}` is there already", path.display()));
    } else {
        // Checked before the identity is created: an existing file is never overwritten, least of all one with colleagues' recipients.
        if let Some(taken) = recipients.filter(|recipients| recipients.symlink_metadata().is_ok()) {
            let message = format!("`{}` exists already and was left as it is", taken.display());
            return Err(vec![Diagnostic::failure(codes::TL0711, message).help("name another file for the recipient")]);
        }
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        create_identity(path, &now).map_err(|error| vec![identity_problem(&error)])?;
        output.hint(&format!("made the identity `{}`: keep a copy of it in a safe place", path.display()));
        output.hint("whoever has it can open what is sealed for it; without it, nobody can");
    }
    let lines = recipients_of(path)?.join("\n") + "\n";
    if let Some(file) = recipients {
        let written = File::options().write(true).create_new(true).open(file).and_then(|mut file| {
            file.write_all(lines.as_bytes())?;
            file.sync_all()
        });
        match written {
            // Keep it: somebody may have added recipients.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && if_missing => {}
            Err(error) => {
                let message = format!("the recipient could not be written to `{}`", file.display());
                return Err(vec![Diagnostic::failure(codes::TL0712, message).cause(&error)]);
            }
            Ok(()) => {}
        }
    }
    output.text(&lines);
    Ok(ExitCode::Success)
}

fn recipients_of(path: &Path) -> Result<Vec<String>, Vec<Diagnostic>> {
    let identities = read_identities(path).map_err(|error| vec![identity_problem(&error)])?;
    Ok(identities.iter().map(|identity| identity.recipient().to_string()).collect())
}

fn show(path: &Path, as_json: bool, output: &mut Output) -> Done {
    let recipients = recipients_of(path)?;
    if as_json {
        output.json(&json!({ "recipients": recipients }))?;
    } else {
        output.text(&recipients.iter().map(|recipient| format!("{recipient}\n")).collect::<String>());
    }
    Ok(ExitCode::Success)
}

/// The error for an identity file.
pub(in crate::cli) fn identity_problem(error: &IdentityFileError) -> Diagnostic {
    let (code, kind, help) = match error {
        IdentityFileError::Exists(_) => {
            (codes::TL0711, Kind::Failure, "name another file; an identity is never overwritten")
        }
        IdentityFileError::Unmade { .. } => {
            (codes::TL0712, Kind::Failure, "check the path, owner and mode of its folder")
        }
        IdentityFileError::Exposed { .. } => (codes::TL0621, Kind::Key, "an identity is for its owner's eyes only"),
        IdentityFileError::Content { .. } => {
            (codes::TL0621, Kind::Key, "a file of identities has `AGE-SECRET-KEY-1…` lines")
        }
        IdentityFileError::Io { .. } => (codes::TL0621, Kind::Key, "check the path, owner and mode"),
    };
    let diagnostic = Diagnostic::new(code, kind, error.to_string()).help(help);
    match std::error::Error::source(error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

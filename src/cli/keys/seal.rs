use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use super::arguments::{Open, Recipients, Seal};
use super::key::identity_problem;
use crate::cli::atomic_file::Target;
use crate::cli::done::Done;
use crate::crypto::{self, Key, Recipient, read_identities};
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::report::{Output, Progress};

pub(in crate::cli) fn seal(command: &Seal, _: &mut Output) -> Done {
    let recipients = recipients(&command.to)?;
    let files = &command.files;
    let to_standard = files.output.as_deref().is_none_or(|path| path == "-");
    if to_standard && io::stdout().is_terminal() {
        return Err(vec![
            Diagnostic::usage(codes::TL0713, "a sealed file is not for a terminal")
                .help("name a file with `-o`, or use a pipe"),
        ]);
    }
    let mut from = input(files.file.as_deref())?;
    let mut to = Target::new(files.output.as_deref(), files.force)?;
    crypto::seal(&recipients, &mut from, &mut to, threads()).map_err(|error| vec![error.into()])?;
    to.finish()?;
    Ok(ExitCode::Success)
}

pub(in crate::cli) fn open(command: &Open) -> Done {
    let mut keys = Vec::new();
    for path in &command.identity {
        let identities = read_identities(path).map_err(|error| vec![identity_problem(&error)])?;
        keys.extend(identities.into_iter().map(Key::X25519));
    }
    let files = &command.files;
    let mut from = input(files.file.as_deref())?;
    let mut to = Target::new(files.output.as_deref(), files.force)?;
    crypto::open(&keys, &mut from, &mut to, threads()).map_err(|error| vec![error.into()])?;
    to.finish()?;
    Ok(ExitCode::Success)
}

/// Opens a file, or standard input, and shows progress on a terminal.
fn input(path: Option<&Path>) -> Result<Progress<Box<dyn Read + Send>>, Vec<Diagnostic>> {
    match path.filter(|path| *path != Path::new("-")) {
        None => Ok(Progress::new(Box::new(io::stdin()), None)),
        Some(path) => match File::open(path) {
            Ok(file) => {
                let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|about| about.len());
                Ok(Progress::new(Box::new(file), size))
            }
            Err(error) => {
                let message = format!("the file `{}` cannot be read", path.display());
                Err(vec![Diagnostic::failure(codes::TL0710, message).cause(&error)])
            }
        },
    }
}

/// The largest file of recipients: far more than a header may name.
const LARGEST_RECIPIENTS: u64 = 1 << 20;

/// All recipients that the command line names.
pub(in crate::cli) fn recipients(command: &Recipients) -> Result<Vec<Recipient>, Vec<Diagnostic>> {
    let mut recipients = Vec::new();
    for text in &command.recipient {
        let parsed = text.parse::<Recipient>();
        recipients.push(parsed.map_err(|error| {
            vec![Diagnostic::usage(codes::TL0620, "what stands after `-r` is no recipient").cause(&error)]
        })?);
    }
    for path in &command.recipients_file {
        let failed = |error: &dyn std::error::Error| {
            let message = format!("the recipients in `{}` cannot be used", path.display());
            vec![Diagnostic::usage(codes::TL0620, message).cause(error)]
        };
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST_RECIPIENTS).read_to_string(&mut text));
        read.map_err(|error| failed(&error))?;
        recipients.extend(crypto::parse_recipients(&text).map_err(|error| failed(&error))?);
    }
    if recipients.is_empty() {
        return Err(vec![
            Diagnostic::usage(codes::TL0620, "nobody could open it: no recipient is named")
                .help("add `-r RECIPIENT` or `-R FILE`"),
        ]);
    }
    Ok(recipients)
}

fn threads() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

//! Reports that go to a file beside the output.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::diagnostic::{Diagnostic, Result, codes};

/// Writes a text behind what a file holds.
pub(super) fn append(path: &Path, text: &str) -> Result<()> {
    let append = |mut file: File| file.write_all(text.as_bytes()).and_then(|()| file.flush());
    let file = File::options().append(true).create(true).open(path);
    file.and_then(append).map_err(|error| unwritten(path, &error))
}

/// That a report is not there.
pub(super) fn unwritten(path: &Path, error: &io::Error) -> Diagnostic {
    let message = format!("the report `{}` cannot be written", path.display());
    Diagnostic::failure(codes::TL0712, message)
        .cause(error)
        .help("the run went to its end; only this report of it is missing")
}

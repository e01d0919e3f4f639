use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::cli::atomic_file::{exists, unwritable};
use crate::diagnostic::{Diagnostic, Kind};

/// Opens and empties the file of a `JUnit` report. A file that is neither a report nor empty is left as it is. Fails if the
/// file cannot be written: nothing runs without its report.
pub(super) fn junit_file(path: &Path) -> Result<File, Vec<Diagnostic>> {
    let usage = |error: Diagnostic| vec![Diagnostic { kind: Kind::Usage, ..error }];
    let failed = |error: &io::Error| usage(unwritable(path, error));
    let about = path.metadata();
    if about.as_ref().is_ok_and(|about| about.file_type().is_fifo()) {
        // Opening it would block until somebody reads it.
        return Err(usage(exists(path, "it is a pipe; name a file")));
    }
    if about.is_ok_and(|about| about.is_file()) {
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(REPORT_HEAD).read_to_end(&mut head));
        read.map_err(|error| failed(&error))?;
        if !(head.is_empty() || String::from_utf8_lossy(&head).contains("<testsuite")) {
            return Err(usage(exists(path, "it is no JUnit report; name another file")));
        }
    }
    File::create(path).map_err(|error| failed(&error))
}

/// How many bytes are read to recognise a report.
const REPORT_HEAD: u64 = 1_024;

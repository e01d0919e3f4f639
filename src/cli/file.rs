//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::diagnostic::Diagnostic;
use crate::report::Progress;

/// Where bytes come from: a file, or standard input. Shows progress on a terminal.
pub(super) fn input(path: Option<&Path>) -> Result<Progress<Box<dyn Read + Send>>, Vec<Diagnostic>> {
    match path.filter(|path| *path != Path::new("-")) {
        None => Ok(Progress::new(Box::new(io::stdin()), None)),
        Some(path) => match File::open(path) {
            Ok(file) => {
                let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|about| about.len());
                Ok(Progress::new(Box::new(file), size))
            }
            Err(error) => {
                let message = format!("the file `{}` cannot be read", path.display());
                Err(vec![Diagnostic::failure("TL0710", message).cause(&error)])
            }
        },
    }
}

/// Where bytes go. A file gets its name only when all is in it.
pub(super) enum Target {
    /// Standard output.
    Standard(io::Stdout),
    /// A file, under another name so far.
    File {
        /// Removed again unless it is given its name.
        partial: NamedTempFile,
        /// That name.
        path: PathBuf,
        /// Whether it may replace one.
        force: bool,
    },
}

impl Target {
    pub(super) fn new(path: Option<&Path>, force: bool) -> Result<Self, Vec<Diagnostic>> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Standard(io::stdout())) };
        if !force && path.symlink_metadata().is_ok() {
            return Err(vec![exists(path)]);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // `tempfile` makes it with mode 0600.
        let partial = NamedTempFile::new_in(folder).map_err(|error| vec![unwritable(path, &error)])?;
        Ok(Self::File { partial, path: path.to_owned(), force })
    }

    /// Says that this was all.
    pub(super) fn finish(self) -> Result<(), Vec<Diagnostic>> {
        match self {
            Self::Standard(mut out) => out.flush().map_err(|error| vec![unwritable(Path::new("-"), &error)]),
            Self::File { partial, path, force } => {
                partial.as_file().sync_all().map_err(|error| vec![unwritable(&path, &error)])?;
                let kept = if force { partial.persist(&path) } else { partial.persist_noclobber(&path) };
                match kept {
                    Ok(_) => Ok(()),
                    Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(vec![exists(&path)]),
                    Err(error) => Err(vec![unwritable(&path, &error.error)]),
                }
            }
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File { partial, .. } => partial.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File { partial, .. } => partial.flush(),
        }
    }
}

fn exists(path: &Path) -> Diagnostic {
    Diagnostic::failure("TL0711", format!("`{}` exists already and was left as it is", path.display()))
        .help("name another file, or add `--force`")
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::failure("TL0712", format!("the file `{}` cannot be written", path.display())).cause(error)
}

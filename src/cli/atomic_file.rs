//! Files that are written whole or not at all, whatever ends `tl`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::diagnostic::{Diagnostic, codes};

/// Where bytes go. A file gets its name only when it is complete.
pub(super) enum Target {
    /// Standard output.
    Standard(io::Stdout),
    /// An existing device or pipe, written to directly.
    Direct(File),
    /// A file without a name: nothing of it is left if `tl` ends early.
    Nameless(Pending<File>),
    /// A file under another name, on file systems without `O_TMPFILE`.
    Named(Pending<NamedTempFile>),
}

/// A file that waits for its name.
pub(super) struct Pending<F> {
    file: F,
    path: PathBuf,
    force: bool,
}

impl Target {
    pub(super) fn new(path: Option<&Path>, force: bool) -> Result<Self, Vec<Diagnostic>> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Standard(io::stdout())) };
        let failed = |error: &io::Error| vec![unwritable(path, error)];
        match path.symlink_metadata() {
            // Unlike `age`, which replaces the file.
            Ok(_) if !force => return Err(vec![exists(path, FORCE)]),
            Ok(about) if !about.is_file() => {
                return File::options().write(true).open(path).map(Self::Direct).map_err(|error| failed(&error));
            }
            _ => {}
        }
        let (flags, mode) = (OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        match rustix::fs::open(folder(path), flags, mode) {
            Ok(file) => Ok(Self::Nameless(Pending { file: file.into(), path: path.to_owned(), force })),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                // `tempfile` makes it with mode 0600.
                let file = NamedTempFile::new_in(folder(path)).map_err(|error| failed(&error))?;
                Ok(Self::Named(Pending { file, path: path.to_owned(), force }))
            }
            Err(errno) => Err(failed(&errno.into())),
        }
    }

    /// Ends the file and gives it its name.
    pub(super) fn finish(self) -> Result<(), Vec<Diagnostic>> {
        let (result, path) = match self {
            Self::Standard(mut out) => (out.flush(), PathBuf::from("-")),
            Self::Direct(mut file) => (file.flush(), PathBuf::from("-")),
            Self::Nameless(Pending { file, path, force }) => {
                (file.sync_all().and_then(|()| give_name(&file, &path, force)), path)
            }
            Self::Named(Pending { file, path, force }) => {
                let named = file.as_file().sync_all().and_then(|()| {
                    let kept = if force { file.persist(&path) } else { file.persist_noclobber(&path) };
                    kept.map(drop).map_err(|error| error.error)
                });
                (named, path)
            }
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(vec![exists(&path, FORCE)]),
            other => other.map_err(|error| vec![unwritable(&path, &error)]),
        }
    }

    /// Copies the mode and the owner of another file.
    fn keep(&self, about: &fs::Metadata) -> io::Result<()> {
        let file = match self {
            Self::Nameless(Pending { file, .. }) => file,
            Self::Named(Pending { file, .. }) => file.as_file(),
            Self::Standard(_) | Self::Direct(_) => return Ok(()),
        };
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (about.uid(), about.gid()) {
            fchown(file, Some(about.uid()), Some(about.gid()))?;
        }
        // After the owner, because chown(2) clears bits of the mode.
        file.set_permissions(about.permissions())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Standard(out) => out,
            Self::Direct(file) | Self::Nameless(Pending { file, .. }) => file,
            Self::Named(Pending { file, .. }) => file,
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

/// A file whose content is to be replaced.
pub(super) struct Rewrite<'a> {
    pub(super) file: &'a Path,
    /// Its content when the user decided; `None` if it was missing.
    pub(super) from: Option<&'a [u8]>,
    pub(super) to: &'a [u8],
}

/// The content of a regular file; `None` if it is missing. A pipe or a device is not read: it may never end.
pub(super) fn content(path: &Path) -> Option<Vec<u8>> {
    fs::metadata(path).is_ok_and(|about| about.is_file()).then(|| fs::read(path).ok()).flatten()
}

/// Refuses a file with several names (hard links): a new file would take one name, and the others would keep the old text.
pub(super) fn require_one_name(file: &Path) -> Result<(), Vec<Diagnostic>> {
    match fs::metadata(file) {
        Ok(about) if about.is_file() && about.nlink() > 1 => {
            let names = about.nlink();
            let message = format!("`{}` has {names} names (hard links), and was left as it is", file.display());
            let help = "make it a file of its own: copy it and move the copy over it, then try again";
            Err(vec![Diagnostic::failure(codes::TL0748, message).help(help)])
        }
        _ => Ok(()),
    }
}

/// Replaces a file in one step, and keeps its mode and owner: it holds the old bytes or the new ones, never a mixture. A
/// symbolic link stays, and its target is replaced.
pub(super) fn rewrite(rewrite: &Rewrite<'_>) -> Result<(), Vec<Diagnostic>> {
    let failed = |error: &io::Error| vec![unwritable(rewrite.file, error)];
    let path = fs::canonicalize(rewrite.file).or_else(|_| std::path::absolute(rewrite.file));
    let path = path.map_err(|error| failed(&error))?;
    require_one_name(&path)?;
    let mut target = Target::new(Some(&path), true)?;
    target.write_all(rewrite.to).map_err(|error| failed(&error))?;
    if let Ok(about) = fs::metadata(&path) {
        target.keep(&about).map_err(|error| failed(&error))?;
    }
    // As late as possible: somebody may have saved the file while the question was open.
    if content(&path).as_deref() != rewrite.from {
        let message = format!("`{}` changed in the meantime and was left as it is", rewrite.file.display());
        return Err(vec![Diagnostic::failure(codes::TL0744, message).help("look at it, then try again")]);
    }
    target.finish()?;
    // Otherwise the old file might come back after a power failure.
    File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))
}

/// Writes a file whole or not at all, with mode 0600. It replaces only a file that `is_same_kind` accepts.
pub(super) fn replace(
    path: &Path,
    content: &[u8],
    is_same_kind: &dyn Fn(&[u8]) -> bool,
) -> Result<(), Vec<Diagnostic>> {
    let failed = |error: &io::Error| vec![unwritable(path, error)];
    let is_there = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(&error)),
        // A device or a link is not even read: a link may lead anywhere, and a pipe would block.
        Ok(about) if about.is_file() && is_same_kind(&fs::read(path).map_err(|error| failed(&error))?) => true,
        Ok(_) => {
            let message = format!("`{}` is there, and is no older plan: it was left as it is", path.display());
            return Err(vec![Diagnostic::usage(codes::TL0775, message).help("name another file")]);
        }
    };
    let mut target = Target::new(Some(path), is_there)?;
    target.write_all(content).map_err(|error| failed(&error))?;
    target.finish()
}

/// Gives a nameless file its name (open(2), `O_TMPFILE`). With `force`, it replaces an existing file in one step.
fn give_name(file: &File, path: &Path, force: bool) -> io::Result<()> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |to: &Path| linkat(CWD, &own, CWD, to, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Err(Errno::EXIST) if force => {
            let beside = folder(path).join(format!(".tl-{}.partial", std::process::id()));
            link(&beside)?;
            fs::rename(&beside, path).inspect_err(|_| {
                // The error of the rename is the one to report.
                let _left = fs::remove_file(&beside);
            })
        }
        other => other.map_err(io::Error::from),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn exists(path: &Path, help: &str) -> Diagnostic {
    Diagnostic::failure(codes::TL0711, format!("`{}` exists already and was left as it is", path.display())).help(help)
}

const FORCE: &str = "name another file, or add `--force`";

pub(super) fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::failure(codes::TL0712, format!("the file `{}` cannot be written", path.display())).cause(error)
}

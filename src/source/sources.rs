use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::error::Error;
use super::selection::Selection;

/// A checked source.
#[derive(Debug)]
pub struct Source {
    /// The path as the user gave it.
    pub given: PathBuf,
    /// Its path in the archive. Empty for `/` and for the base itself.
    pub name: PathBuf,
    /// Its path on this machine.
    pub root: PathBuf,
}

/// The sources in archive order: a directory before its content, each once. Also returns an error for each source that
/// exists but cannot be reached.
pub fn resolve(selection: &Selection) -> Result<(Vec<Source>, Vec<Error>), Error> {
    let (mut sources, mut unreadable) = (Vec::new(), Vec::new());
    for given in &selection.sources {
        match Source::new(given, &selection.base) {
            Ok(source) => sources.push(source),
            Err(error @ Error::Unreadable { .. }) => unreadable.push(error),
            Err(error) => return Err(error),
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    // Those above a source in the archive come before it.
    let places: HashMap<PathBuf, usize> =
        sources.iter().enumerate().rev().map(|(place, source)| (source.name.clone(), place)).collect();
    for inner in &sources {
        for outer in inner.name.ancestors().filter_map(|name| places.get(name)) {
            check_nesting(&sources[*outer], inner)?;
        }
    }
    sources.dedup_by(|a, b| a.name == b.name);
    Ok((sources, unreadable))
}

impl Source {
    fn new(given: &Path, base: &Path) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Bad { path: given.to_owned(), reason: reason.to_owned() };
        if given.as_os_str().is_empty() {
            return Err(bad("is an empty path"));
        }
        if given.components().any(|component| component == Component::ParentDir) {
            return Err(bad("has a `..` in its path, which would lead out of the archive"));
        }
        let name: PathBuf = given.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let anchor = if given.is_absolute() { Path::new("/") } else { base };
        // Joining an empty path would append a slash.
        let root = if name.as_os_str().is_empty() { anchor.to_owned() } else { anchor.join(&name) };
        match root.symlink_metadata() {
            Ok(_) => Ok(Self { given: given.to_owned(), name, root }),
            Err(error) => Err(unreadable(given, error)),
        }
    }

    /// Its path in the archive as the walk writes it. Entries of `.` are named `./a`, as in every tar.
    pub fn archived(&self) -> &[u8] {
        if self.name.as_os_str().is_empty() { b"." } else { self.name.as_os_str().as_bytes() }
    }

    /// The prefix that turns paths of this archive into paths on this machine.
    pub fn anchor(&self) -> PathBuf {
        let depth = self.name.components().count();
        self.root.ancestors().nth(depth).unwrap_or(&self.root).to_owned()
    }

    /// Its path on this machine without symbolic links above it; as it is written, if it cannot be told.
    pub fn real(&self) -> PathBuf {
        let resolved = match (self.root.parent(), self.root.file_name()) {
            (Some(parent), Some(name)) if !self.name.as_os_str().is_empty() => {
                parent.canonicalize().map(|parent| parent.join(name))
            }
            _ => self.root.canonicalize(),
        };
        resolved.unwrap_or_else(|_| self.root.clone())
    }

    /// Opens the parent directory and returns the source's name in it. The path to it may contain symbolic links.
    pub fn open_parent(&self) -> Result<(OwnedFd, CString), Error> {
        let (parent, name) = match (self.root.parent(), self.root.file_name()) {
            (Some(parent), Some(name)) if !self.name.as_os_str().is_empty() => (parent, name),
            _ => (self.root.as_path(), OsStr::new(".")),
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            openat(CWD, parent, flags, Mode::empty()).map_err(|error| unreadable(&self.given, error.into()))?;
        let name =
            CString::new(name.as_bytes()).map_err(|_| unreadable(&self.given, io::ErrorKind::InvalidInput.into()))?;
        Ok((directory, name))
    }
}

/// The error of a source that cannot be reached.
pub fn unreadable(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::Missing(path.to_owned()),
        _ => Error::Unreadable { path: path.to_owned(), source: error },
    }
}

/// Two sources may nest in the archive only if they nest on disk. `outer` comes first in order.
fn check_nesting(outer: &Source, inner: &Source) -> Result<(), Error> {
    let Ok(rest) = inner.name.strip_prefix(&outer.name) else { return Ok(()) };
    let bad = |reason: String| Err(Error::Bad { path: inner.given.clone(), reason });
    if outer.anchor() != inner.anchor() {
        // For example `etc` and `/etc`, or `.` and `/etc` if `.` contains `etc`.
        let meeting = rest.components().next().map_or_else(|| outer.root.clone(), |first| outer.root.join(first));
        if meeting.symlink_metadata().is_ok() {
            return bad(format!("has the same path in the archive as `{}`", meeting.display()));
        }
        return Ok(());
    }
    // An archive with `a` as a link and `a/b` as a file cannot be extracted.
    let mut way = outer.root.clone();
    for component in rest.components() {
        // The base itself may be reached through links: it is archived as `.`, not under the name of a link.
        let is_base = outer.name.as_os_str().is_empty() && way == outer.root;
        if !is_base && way.is_symlink() {
            return bad(format!(
                "is reached through the symbolic link `{}`, which the source `{}` archives as a link",
                way.display(),
                outer.given.display()
            ));
        }
        way.push(component);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(base: &Path, sources: &[PathBuf]) -> Result<Vec<String>, Error> {
        let selection = Selection { sources: sources.to_vec(), base: base.to_owned(), ..Selection::default() };
        Ok(resolve(&selection)?.0.iter().map(|source| source.name.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn names_in_the_archive() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        let relative = |texts: &[&str]| names(base, &texts.iter().map(PathBuf::from).collect::<Vec<_>>()).unwrap();
        assert_eq!(relative(&["a/b/", "./a", "a//b"]), ["a", "a/b"]);
        assert_eq!(relative(&["."]), [""]);
        let absolute = base.join("a/b");
        let name = absolute.to_str().unwrap()[1..].to_owned();
        assert_eq!(names(Path::new("/"), std::slice::from_ref(&absolute)).unwrap(), [name.as_str()]);
        // Two paths to the same directory.
        assert_eq!(names(Path::new("/"), &[absolute, PathBuf::from(&name)]).unwrap(), [name]);
    }

    #[test]
    fn anchors_precede_names() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        for (given, anchor) in [("a", directory.path()), (".", directory.path()), ("/", Path::new("/"))] {
            let source = Source::new(Path::new(given), directory.path()).unwrap();
            assert_eq!(source.anchor(), anchor, "{given}");
        }
        assert_eq!(Source::new(directory.path(), Path::new("/x")).unwrap().anchor(), Path::new("/"));
    }

    #[test]
    fn what_cannot_be_archived_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        std::fs::create_dir_all(base.join("real/deep")).unwrap();
        std::fs::create_dir(base.join("etc")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        let error = |texts: &[&str]| {
            let sources: Vec<_> = texts.iter().map(PathBuf::from).collect();
            names(base, &sources).unwrap_err().to_string()
        };
        assert_eq!(
            error(&["real/../etc"]),
            "the source `real/../etc` has a `..` in its path, which would lead out of the archive"
        );
        assert_eq!(error(&[""]), "the source `` is an empty path");
        assert_eq!(error(&["etc/none"]), "the source `etc/none` does not exist");
        assert!(error(&["etc", "/etc"]).contains("has the same path in the archive as"));
        assert!(error(&[".", "/etc"]).contains("has the same path in the archive as"));
        assert!(error(&["link/deep", "link"]).contains("through the symbolic link"));
        assert!(error(&["link/deep", "."]).contains("through the symbolic link"));
    }

    #[test]
    fn a_source_may_lie_behind_a_link_that_nothing_else_archives() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("real/deep")).unwrap();
        std::os::unix::fs::symlink("real", directory.path().join("link")).unwrap();
        let sources = ["link/deep", "real"].map(PathBuf::from);
        assert_eq!(names(directory.path(), &sources).unwrap(), ["link/deep", "real"]);
    }
}

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::pattern::Pattern;

/// What to take.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Files and directories. Absolute paths lose their leading `/`; relative paths stay as they are. Order does not
    /// matter. A file that two sources reach is taken once.
    pub sources: Vec<PathBuf>,
    /// The absolute directory that relative sources are relative to.
    pub base: PathBuf,
    /// If there are any, only files that one of these fits, or a folder above them, are taken, and the folders that hold
    /// them.
    pub include: Vec<Pattern>,
    /// What to leave out, also of what is included. Excluded directories are not entered.
    pub exclude: Vec<Pattern>,
    /// A directory with an entry of one of these names is taken without its other content.
    pub exclude_if_present: Vec<String>,
    /// The same for a directory with a `CACHEDIR.TAG` (<https://bford.info/cachedir/>).
    pub exclude_caches: bool,
    /// Files of more bytes are left out.
    pub larger_than: Option<u64>,
    /// Stay on the file system of each source. A directory on another one is taken empty, so that the mount point
    /// exists after a restore. If it is a source itself, it is entered.
    pub one_file_system: bool,
    /// Directories that are never read, however their paths come: device and inode of each.
    pub never: Vec<(u64, u64)>,
}

impl Selection {
    /// The same without these directories, as far as they exist.
    #[must_use]
    pub fn without<'a>(self, never: impl IntoIterator<Item = &'a Path>) -> Self {
        let never = never.into_iter().filter_map(|path| fs::metadata(path).ok());
        Self { never: never.map(|about| (about.dev(), about.ino())).collect(), ..self }
    }
}

/// The paths of a list in which a NUL byte ends each, as `find -print0` writes it.
pub fn read_list(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let bytes = fs::read(path).map_err(|source| Error::List { path: path.to_owned(), source })?;
    let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
}

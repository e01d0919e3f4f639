use std::path::{Path, PathBuf};

/// What to archive.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Files and directories. Absolute paths lose their leading `/`; relative paths stay as they are. Order does not
    /// matter. A file that two sources reach is archived once.
    pub sources: Vec<PathBuf>,
    /// The absolute directory that relative sources are relative to.
    pub base: PathBuf,
    /// What to leave out, as glob patterns. `*` and `?` do not match `/`; `**` does.
    ///
    /// - without `/`, a pattern is matched against the name of each entry: `*.tmp`;
    /// - with a leading `/`, against its absolute path on this machine: `/srv/*/cache`;
    /// - otherwise, against its path in the archive: `srv/*/cache`, `**/target/debug`.
    ///
    /// A trailing `/` restricts a pattern to directories. Excluded directories are not entered. A source itself can be
    /// excluded.
    pub exclude: Vec<String>,
    /// Stay on the file system of each source. A directory on another one is stored empty, so that the mount point
    /// exists after a restore. If it is a source itself, it is entered.
    pub one_file_system: bool,
    /// Directories that are never read, however their paths come: device and inode of each.
    pub never: Vec<(u64, u64)>,
    /// Whether an archive without a file is an archive.
    pub allow_empty: bool,
    /// The fewest entries other than directories.
    pub min_files: u64,
    /// The fewest bytes of content.
    pub min_bytes: u64,
}

/// Watches an archive being written. Called on the thread that writes.
pub trait Observer {
    /// This number of further bytes of file content was read.
    fn progress(&self, bytes: u64);
    /// Something is missing from the archive or may differ from the disk. The reason is a clause without a capital
    /// letter or a full stop.
    fn warn(&self, path: &Path, reason: String);
    /// Called before each entry and each buffer. `true` ends the work with [`Error::Cancelled`](super::Error).
    fn cancelled(&self) -> bool;
}

/// The size of an archive's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries other than directories.
    pub files: u64,
    /// Bytes of file content. Holes of sparse files and further names of a file do not count.
    pub bytes: u64,
    /// Entries that could not be stored. Each was reported. Excluded entries do not count.
    pub skipped: u64,
}

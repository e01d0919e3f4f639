use std::path::{Path, PathBuf};

/// What to archive.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Files and directories. Absolute ones keep their path without the leading `/`, relative ones keep it as it is.
    /// Their order does not matter, and what two of them reach is archived once.
    pub sources: Vec<PathBuf>,
    /// The absolute directory in which relative sources stand.
    pub base: PathBuf,
    /// What to leave out, by glob patterns in which `*` and `?` stop at `/` and `**` does not:
    ///
    /// - without `/`, a pattern is matched against the name of each entry: `*.tmp`;
    /// - with a leading `/`, against its absolute path on this machine: `/srv/*/cache`;
    /// - otherwise, against its path in the archive: `srv/*/cache`, `**/target/debug`.
    ///
    /// A trailing `/` restricts a pattern to directories. An excluded directory is not entered, and a source itself
    /// can be excluded.
    pub exclude: Vec<String>,
    /// Do not enter directories on another file system than their source. Such a directory is stored empty, so that
    /// the mount point exists after a restore; it is entered when it is a source of its own.
    pub one_file_system: bool,
}

/// Watches an archive being written. Called on the thread that writes.
pub trait Observer {
    /// This number of further bytes of file content was read.
    fn progress(&self, bytes: u64);
    /// Something is missing from the archive or may differ from the disk: where, and why, as a clause without
    /// a capital letter or a full stop.
    fn warn(&self, path: &Path, reason: String);
    /// Asked before each entry and each buffer; `true` ends the work with [`Error::Cancelled`](super::Error).
    fn cancelled(&self) -> bool;
}

/// What an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries other than directories.
    pub files: u64,
    /// Bytes of file content; holes of sparse files and further names of a file do not count.
    pub bytes: u64,
    /// Entries that should be in it and could not be stored. Each was reported. Excluded ones do not count.
    pub skipped: u64,
}

use std::path::Path;

use crate::source::Selection;

/// What to archive.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to take.
    pub selection: Selection,
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
    /// Something that is worth knowing and changes nothing.
    fn note(&self, text: String);
    /// Called before each entry and each buffer. `true` ends the work with [`Error::Cancelled`](super::Error).
    fn cancelled(&self) -> bool;
}

/// Tells of patterns that decided about nothing.
pub(super) fn note_unused(observer: &dyn Observer, patterns: &[String]) {
    if !patterns.is_empty() {
        observer.note(format!("note: patterns that fit nothing: {}", patterns.join(", ")));
    }
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

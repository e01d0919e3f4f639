use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use ulid::Ulid;

use super::dir::private_dir;

/// A process that sends messages: a name, and a file of that name that is locked while the process lives. The kernel releases
/// the lock of a killed process; a process id could be reused.
///
/// A lease with a time limit would make the message of a killed process wait for its end. One lock for all messages would make
/// every run wait for the slowest channel.
#[derive(Debug)]
pub(super) struct Owner {
    folder: PathBuf,
    name: String,
    _alive: File,
}

/// Whether an owner's process lives.
enum OwnerState {
    Alive,
    /// The process is gone. The file is held locked.
    Dead(File),
    Gone,
}

impl Owner {
    /// Creates a new name in this folder.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        private_dir(folder)?;
        loop {
            let name = Ulid::new().to_string();
            let file = File::options().write(true).create_new(true).mode(0o600).open(folder.join(&name))?;
            flock(&file, FlockOperation::LockExclusive)?;
            // Between creation and lock, a sweep may have removed the file: check that the name still leads to it.
            if file.metadata()?.nlink() > 0 {
                return Ok(Self { folder: folder.to_owned(), name, _alive: file });
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the process of that name lives.
    pub(super) fn is_alive(&self, name: &str) -> bool {
        if name == self.name {
            return true;
        }
        matches!(self.look(name), OwnerState::Alive)
    }

    /// Looks an owner up.
    fn look(&self, name: &str) -> OwnerState {
        // Reject other names: one with a slash would lead out of the folder.
        if Ulid::from_string(name).is_err() {
            return OwnerState::Gone;
        }
        match File::open(self.folder.join(name)) {
            Ok(file) if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() => OwnerState::Dead(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => OwnerState::Gone,
            _ => OwnerState::Alive,
        }
    }

    /// Removes the files of processes that are gone.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            // Keep the lock until the file is removed: a new owner cannot lock it in between.
            if name != self.name
                && let OwnerState::Dead(_held) = self.look(&name)
            {
                // The next sweep tries again if this fails.
                let _left = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A file that stays is swept by the next process.
        let _left = fs::remove_file(self.folder.join(&self.name));
    }
}

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use ulid::Ulid;

use super::dir::private_dir;

/// Who is sending messages: a name, and a file of that name that is locked while its process lives. The kernel releases
/// the lock of a process that was killed.
#[derive(Debug)]
pub(super) struct Owner {
    folder: PathBuf,
    name: String,
    _alive: File,
}

/// What is known of an owner.
enum Life {
    Alive,
    /// Its process is gone; its file is here, locked.
    Left(File),
    Gone,
}

impl Owner {
    /// A new name in this folder.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        private_dir(folder)?;
        loop {
            let name = Ulid::new().to_string();
            let file = File::options().write(true).create_new(true).mode(0o600).open(folder.join(&name))?;
            flock(&file, FlockOperation::LockExclusive)?;
            // Between its making and its lock, somebody may have taken it for one that was left.
            if file.metadata()?.nlink() > 0 {
                return Ok(Self { folder: folder.to_owned(), name, _alive: file });
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether another one is at work.
    pub(super) fn is_alive(&self, name: &str) -> bool {
        if name == self.name {
            return true;
        }
        matches!(self.look(name), Life::Alive)
    }

    /// Whether one lives.
    fn look(&self, name: &str) -> Life {
        // A name that is none cannot have been given by tl; its file would lie elsewhere.
        if Ulid::from_string(name).is_err() {
            return Life::Gone;
        }
        match File::open(self.folder.join(name)) {
            Ok(file) if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() => Life::Left(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Life::Gone,
            _ => Life::Alive,
        }
    }

    /// Removes the files of those whose process is gone.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            // Held until it is removed, so that it is not one that is just being made.
            if name != self.name
                && let Life::Left(_held) = self.look(&name)
            {
                // The next one tries again.
                let _left = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // One that stays is swept by the next.
        let _left = fs::remove_file(self.folder.join(&self.name));
    }
}

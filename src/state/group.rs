use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::dir::private_dir;
use crate::value::hex;

/// The lock of a concurrency group: one of its runs works at a time. The kernel releases the lock of a killed process.
#[derive(Debug)]
pub struct GroupLock(File);

/// Describes the holder of a group's lock; empty if unknown.
pub type Holder = String;

impl GroupLock {
    /// Takes the lock of a group, or returns its holder. The file stays after the release: if it were removed, two runs could hold
    /// locks on two files of one name.
    pub(super) fn take(folder: &Path, group: &str, holder: &str) -> io::Result<Result<Self, Holder>> {
        private_dir(folder)?;
        // A group can have any name, a file cannot.
        let name = hex(&Sha256::digest(group)[..16]);
        let path = folder.join(name);
        let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(holder.as_bytes())?;
                Ok(Ok(Self(file)))
            }
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The lock is held, whether or not the holder can be read.
                let _unread = file.take(4_096).read_to_string(&mut text);
                Ok(Err(text))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A second handle on the lock, for the supervisor of the run's programs.
    pub fn lock(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// Releases the lock.
    pub fn release(self) {
        drop(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_group_holds_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let take = |group: &str, holder: &str| GroupLock::take(&folder.path().join("groups"), group, holder).unwrap();
        let held = take("a/../b", "run one").unwrap();
        assert_eq!(take("a/../b", "run two").unwrap_err(), "run one");
        let other = take("other", "run three").unwrap();
        held.release();
        let held = take("a/../b", "two").unwrap();
        assert_eq!(take("a/../b", "run four").unwrap_err(), "two");
        other.release();
        held.release();
    }
}

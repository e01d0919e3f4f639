use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::dir::private_dir;
use crate::value::hex;

/// The lock of a group of runs, of which one runs at a time. The kernel releases the lock of a process that was killed.
#[derive(Debug)]
pub struct GroupLock(File);

/// Who holds the lock of a group, in words; empty where that is not known.
pub type Holder = String;

impl GroupLock {
    /// Takes the lock of a group, or says who holds it. Its file stays when it is released: removing it would let two
    /// runs hold locks of two files of one name.
    pub(super) fn take(folder: &Path, group: &str, holder: &str) -> io::Result<Result<Self, Holder>> {
        private_dir(folder)?;
        // A group may have any name, a file may not.
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
                // What cannot be read is not known; that the lock is held is.
                let _unread = file.take(4_096).read_to_string(&mut text);
                Ok(Err(text))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The same lock, for who must hold it too.
    pub fn lock(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// Releases it.
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

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::Dir;
use crate::storage::{Error, Objects as _};
use crate::value::{ObjectKey, hex};

/// Sealed objects need no reader but their owner.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;
pub(super) const DIGEST_SUFFIX: &str = ".sha256";

impl Dir {
    pub(super) fn name(&self) -> String {
        self.path.as_path().display().to_string()
    }

    pub(super) fn root(&self) -> Result<OwnedFd, Error> {
        let path = self.path.as_path();
        let open = || fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) if self.create => create_folders(path)
                .map_err(|error| Error::from_io(&self.name(), error))
                .and_then(|()| open().map_err(|errno| Error::from_io(&self.name(), errno.into())))?,
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                return Err(Error::Missing { uri: self.name(), source: errno.into() });
            }
            other => other.map_err(|errno| Error::from_io(&self.name(), errno.into()))?,
        };
        let about = || fs::statx(&opened, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
        let is_mounted = || about().is_ok_and(|about| about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        if self.require_mount && !is_mounted() {
            let source = io::Error::new(io::ErrorKind::NotFound, "no file system is mounted there");
            return Err(Error::Missing { uri: self.name(), source });
        }
        Ok(opened)
    }

    /// The folder that holds an object, and the object's name in it. Follows no symbolic link.
    pub(super) fn folder_of<'k>(&self, key: &'k ObjectKey, create: bool) -> Result<(OwnedFd, &'k str), Error> {
        let mut folder = self.root()?;
        let mut parts = key.parts();
        let name = parts.next_back().expect("a key has at least one part");
        for part in parts {
            let failed = |errno: Errno| Error::from_io(&self.uri(key), errno.into());
            let mut is_new = false;
            if create {
                match fs::mkdirat(&folder, part, DIR_MODE) {
                    Ok(()) => {
                        sync_folder(&folder).map_err(failed)?;
                        is_new = true;
                    }
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if is_new {
                // By explicit mode: the umask may reduce it so far that nothing can be created below.
                let _without_modes = fs::chmodat(&folder, part, DIR_MODE, AtFlags::empty());
            }
            folder = match fs::openat(&folder, part, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Err(Error::NoObject { uri: self.uri(key) }),
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(Error::Foreign { uri: self.uri(key) }),
                other => other.map_err(failed)?,
            };
        }
        Ok((folder, name))
    }

    /// Opens an object, or a file beside it, for reading.
    pub(super) fn open_file(&self, key: &ObjectKey, suffix: &str) -> Result<Option<File>, Error> {
        let failed = |errno: Errno| Error::from_io(&self.uri(key), errno.into());
        let (folder, name) = match self.folder_of(key, false) {
            Err(Error::NoObject { .. }) => return Ok(None),
            other => other?,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(&folder, format!("{name}{suffix}"), flags, Mode::empty()) {
            Ok(fd) => {
                let is_file = FileType::from_raw_mode(fs::fstat(&fd).map_err(failed)?.st_mode).is_file();
                if is_file { Ok(Some(File::from(fd))) } else { Err(Error::Foreign { uri: self.uri(key) }) }
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => Err(Error::Foreign { uri: self.uri(key) }),
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// Makes the names in a folder durable. A file system that cannot sync a folder keeps names with the files, or promises nothing that
/// a call could improve.
pub(super) fn sync_folder(folder: impl AsFd) -> Result<(), Errno> {
    match fs::fsync(folder) {
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => other,
    }
}

/// Gives a file of our own its mode. File systems without modes refuse, or do nothing.
fn set_mode(file: &File, mode: Mode) -> Result<(), Errno> {
    match fs::fchmod(file, mode) {
        Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => other,
    }
}

/// Creates a folder and those above it. Whatever the umask is, their owner can use them.
fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folders(parent)?;
    }
    match std::fs::create_dir(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o700 != 0o700 {
        std::fs::set_permissions(path, Permissions::from_mode(mode | 0o700))?;
    }
    Ok(())
}

/// A file without its name yet. It is removed on drop unless it was given its name.
pub(super) struct Partial<'a> {
    folder: &'a OwnedFd,
    pub(super) name: String,
    pub(super) file: File,
}

impl<'a> Partial<'a> {
    pub(super) fn create(folder: &'a OwnedFd) -> io::Result<Self> {
        loop {
            let mut random = [0; 8];
            fastrand::Rng::new().fill(&mut random);
            let name = format!(".tl-{}.partial", hex(&random));
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(fs::openat(folder, &name, flags, FILE_MODE)?);
            // By explicit mode: the umask of whoever starts tl decides nothing.
            set_mode(&file, FILE_MODE)?;
            // Shows that its writer is alive. Where the file system cannot lock, nothing that is left is ever removed.
            let locked = fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            // Before the lock was taken, another writer may have taken the file for an abandoned one: it has removed it, or holds the
            // lock and is about to.
            if locked != Err(Errno::WOULDBLOCK) && fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Ok(Self { folder, name, file });
            }
        }
    }

    pub(super) fn rename(mut self, to: &str, overwrite: bool) -> io::Result<()> {
        if overwrite {
            fs::renameat(self.folder, &self.name, self.folder, to)?;
        } else {
            match fs::renameat_with(self.folder, &self.name, self.folder, to, RenameFlags::NOREPLACE) {
                // Not every file system knows the flag; a link fails just as surely when the name is taken.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    match fs::linkat(self.folder, &self.name, self.folder, to, AtFlags::empty()) {
                        Ok(()) => fs::unlinkat(self.folder, &self.name, AtFlags::empty())?,
                        // Nor does each know links. The lock of the folder then keeps other deliveries out.
                        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                            if !matches!(fs::statat(self.folder, to, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
                                return Err(Errno::EXIST.into());
                            }
                            fs::renameat(self.folder, &self.name, self.folder, to)?;
                        }
                        other => other?,
                    }
                }
                other => other?,
            }
        }
        self.name.clear();
        Ok(())
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // A leftover is harmless: its name says what it is, and no object has it.
            let _removed = fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Removes the unfinished files of dead writers, and returns how many there were.
pub(super) fn remove_abandoned(folder: &OwnedFd) -> usize {
    let Ok(entries) = fs::Dir::read_from(folder) else { return 0 };
    let mut removed = 0;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let is_partial = name.to_str().is_ok_and(|name| name.starts_with(".tl-") && name.ends_with(".partial"));
        if !is_partial {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = fs::openat(folder, name, flags, Mode::empty()) else { continue };
        if fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // The next upload tries again what cannot be removed now.
            removed += usize::from(fs::unlinkat(folder, name, AtFlags::empty()).is_ok());
        }
    }
    removed
}

/// Removes the digest beside an object, durably. One that is not there is no error.
pub(super) fn remove_digest(folder: &OwnedFd, name: &str) -> io::Result<()> {
    match fs::unlinkat(folder, format!("{name}{DIGEST_SUFFIX}"), AtFlags::empty()) {
        Ok(()) => Ok(sync_folder(folder)?),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tidies_up_takes_no_file_of_a_writer_at_work() {
        let dir = tempfile::tempdir().unwrap();
        let work = |writer: usize| {
            let folder = fs::open(dir.path(), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
            for number in 0..2_000 {
                remove_abandoned(&folder);
                let partial = Partial::create(&folder).unwrap();
                partial.rename(&format!("{writer}-{}", number % 4), true).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || work(writer));
            }
        });
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 16);
    }
}

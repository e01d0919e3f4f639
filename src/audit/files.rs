//! The folder of a log: its paths, its lock, and files that nobody else can read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::Error;

/// How long a writer or a verifier waits for the lock.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// The paths of a log.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    /// Records in a full segment. Part of the format: only tests have another one.
    pub(super) capacity: u64,
}

impl Layout {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), capacity: 65_536 }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn key(&self) -> PathBuf {
        self.dir.join("key")
    }

    pub(super) fn verifier(&self) -> PathBuf {
        self.dir.join("log.vkey")
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.dir.join("ckpt")
    }

    pub(super) fn segments(&self) -> PathBuf {
        self.dir.join("seg")
    }

    pub(super) fn torn(&self) -> PathBuf {
        self.dir.join("torn")
    }

    pub(super) fn segment(&self, first: u64) -> PathBuf {
        self.segments().join(segment_name(first))
    }

    pub(super) fn signed(&self, size: u64) -> PathBuf {
        self.checkpoints().join(checkpoint_name(size))
    }

    /// Creates the folders, for the owner alone whatever the umask.
    pub(super) fn create(&self) -> Result<(), Error> {
        for dir in [self.dir.clone(), self.segments(), self.checkpoints(), self.torn()] {
            if !dir.is_dir() {
                create_dir(&dir)?;
            }
        }
        Ok(())
    }
}

pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

pub(super) fn checkpoint_name(size: u64) -> String {
    format!("{size:020}.ckpt")
}

/// The number in a name that [`segment_name`] or [`checkpoint_name`] made. `None` for other names.
pub(super) fn number(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// The names in a folder. Empty where the folder does not exist.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("list", dir))?,
    };
    let mut names = entries
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(Error::io("list", dir))?;
    names.sort_unstable();
    Ok(names)
}

/// Creates a folder with mode 0700, and its parents.
pub(super) fn create_dir(dir: &Path) -> Result<(), Error> {
    let error = Error::io("create", dir);
    let create = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        rustix::fs::chmod(dir, Mode::RWXU)?;
        dir.parent().map_or(Ok(()), sync_dir)
    };
    create().map_err(error)
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// Opens without following a symlink at the end of the path.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    // A FIFO in the place of a file must not block: it would hold the log, and every run with it.
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR))?.into();
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Creates a file that must not exist, with mode 0600 whatever the umask.
pub(super) fn create_new(path: &Path, flags: OFlags) -> io::Result<File> {
    let file = open(path, flags | OFlags::CREATE | OFlags::EXCL)?;
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    Ok(file)
}

/// The text of a small file. `None` where there is no file.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, Error> {
    match open(path, OFlags::RDONLY).and_then(io::read_to_string) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Not UTF-8. The parser of the content refuses this text.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(String::from("\0"))),
        Err(source) => Err(Error::Io { action: "read", path: path.to_owned(), source }),
    }
}

/// Writes a durable file under a name of its own, for a rename or link. A crash may have left that name as a second
/// link to a finished file, so it is unlinked, never opened and overwritten.
fn write_temporary(temporary: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_new(temporary, OFlags::WRONLY)?;
    file.write_all(content)?;
    file.sync_all()
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Replaces a file as a whole, durably.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(path);
    write_temporary(&temporary(path), content)
        .and_then(|()| fs::rename(temporary(path), path))
        .and_then(|()| sync_dir(dir))
        .map_err(Error::io("replace", path))
}

/// Creates a complete file that must not exist, durably; `false` when it exists.
pub(super) fn create_once(path: &Path, content: &[u8]) -> Result<bool, Error> {
    let dir = path.parent().unwrap_or(path);
    let temporary = dir.join(".new");
    let create = || -> io::Result<bool> {
        write_temporary(&temporary, content)?;
        let linked = match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            result => result.map(|()| true)?,
        };
        fs::remove_file(&temporary)?;
        sync_dir(dir)?;
        Ok(linked)
    };
    create().map_err(Error::io("create", path))
}

/// The metadata by which a change of a file shows without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    pub(super) len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a path. `None` where there is no file.
    pub(super) fn of(path: &Path) -> Result<Option<Self>, Error> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Self::from(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { action: "look at", path: path.to_owned(), source }),
        }
    }

    /// Whether it is the same file, and longer.
    pub(super) fn grew_from(&self, old: &Self) -> bool {
        self.file == old.file && self.len > old.len
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(metadata: &fs::Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The file that processes lock. It is never renamed or deleted: otherwise two processes could hold locks on two files of
/// the same name. It is locked by `flock`: locks of `fcntl` do not exclude two handles of one process, and are lost when
/// any of them is closed.
pub(super) struct Lock(File);

/// The lock. Dropping it unlocks.
pub(super) struct Held<'a>(&'a File);

impl Lock {
    /// Opens the file, or creates it.
    pub(super) fn create(layout: &Layout) -> Result<Self, Error> {
        let path = layout.dir().join("lock");
        match create_new(&path, OFlags::RDWR) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(&path, OFlags::RDWR),
            created => created,
        }
        .map(Self)
        .map_err(Error::io("open", &path))
    }

    /// Opens the file for a reader. A copy of a log may have none.
    pub(super) fn existing(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.dir().join("lock");
        match open(&path, OFlags::RDONLY) {
            Ok(file) => Ok(Some(Self(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { action: "open", path, source }),
        }
    }

    /// Waits until no other process reads or writes.
    pub(super) fn exclusive(&self, timeout: Duration) -> Result<Held<'_>, Error> {
        self.acquire(FlockOperation::NonBlockingLockExclusive, timeout)
    }

    /// Waits until no other process writes.
    pub(super) fn shared(&self, timeout: Duration) -> Result<Held<'_>, Error> {
        self.acquire(FlockOperation::NonBlockingLockShared, timeout)
    }

    fn acquire(&self, operation: FlockOperation, timeout: Duration) -> Result<Held<'_>, Error> {
        let start = Instant::now();
        // A holder works for microseconds, or milliseconds when the disk must answer.
        let mut pause = Duration::from_micros(100);
        loop {
            match rustix::fs::flock(&self.0, operation) {
                Ok(()) => return Ok(Held(&self.0)),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::Io { action: "lock", path: "lock".into(), source: errno.into() });
                }
            }
            if start.elapsed() >= timeout {
                return Err(Error::Busy { seconds: timeout.as_secs() });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It cannot fail on a locked file, and closing the file unlocks it in any case.
        rustix::fs::flock(self.0, FlockOperation::Unlock).ok();
    }
}

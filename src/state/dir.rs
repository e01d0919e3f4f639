use std::collections::HashSet;
use std::env;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::process::geteuid;
use ulid::Ulid;

use super::find::find_run;
use super::left::last_runs;
use super::{DbError, FoundRun, GroupLock, Holder, Journal, LastRun, Left, Logs, Outbox, Start, Versions};

/// What is kept in tables.
pub(super) const DATABASE: &str = "state.db";
/// Who is sending messages.
const SENDERS: &str = "senders";

/// The state folder.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// Why there is no state folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where.
    #[error("neither `--state`, `TL_STATE`, `XDG_STATE_HOME` nor `HOME` says where the state is kept")]
    Nowhere,
    /// It cannot be made or used.
    #[error("the state folder `{}` cannot be used", path.display())]
    Io {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can write in it.
    #[error("others can write in the state folder `{}` (mode {mode:04o}, uid {owner})", path.display())]
    Exposed {
        /// Which folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: u32,
    },
}

impl StateDir {
    /// Where the state is: as given, else `$TL_STATE`, else the platform's folder for state.
    pub fn locate(given: Option<&Path>) -> Result<Self, Error> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = given
            .map(Path::to_owned)
            .or_else(|| set("TL_STATE"))
            .or_else(|| set("XDG_STATE_HOME").map(|home| home.join("timelocker")))
            .or_else(|| set("HOME").map(|home| home.join(".local/state/timelocker")))
            .ok_or(Error::Nowhere)?;
        // A run changes no folder, but its children have one of their own.
        std::path::absolute(&path).map(Self).map_err(|source| Error::Io { path, source })
    }

    /// Makes it where it is missing.
    pub fn create(&self) -> Result<(), Error> {
        let failed = |source| Error::Io { path: self.0.clone(), source };
        private_dir(&self.0).map_err(failed)?;
        let about = fs::metadata(&self.0).map_err(failed)?;
        // Whoever can write here can replace the audit log, key and all.
        let foreign = about.uid() != geteuid().as_raw() && about.uid() != 0;
        if foreign || about.mode() & 0o022 != 0 {
            return Err(Error::Exposed { path: self.0.clone(), mode: about.mode() & 0o7777, owner: about.uid() });
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of the audit log.
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit")
    }

    /// Whether there is an outbox.
    pub fn has_outbox(&self) -> bool {
        self.0.join(SENDERS).exists()
    }

    /// Opens the outbox; makes it where it is missing. The folder must be there.
    pub fn outbox(&self) -> Result<Outbox, DbError> {
        Outbox::open(&self.0.join(DATABASE), &self.0.join(SENDERS))
    }

    /// Opens the texts of pipelines; makes their place where it is missing. The folder must be there.
    pub fn versions(&self) -> Result<Versions, DbError> {
        Versions::open(&self.0.join(DATABASE))
    }

    /// The texts of pipelines, to be read; `None` where none were kept.
    pub fn peek_versions(&self) -> Result<Option<Versions>, DbError> {
        Versions::peek(&self.0.join(DATABASE))
    }

    /// Begins the journal of a run, durably. The folder must be there.
    pub fn begin_journal(&self, start: &Start) -> Result<Journal, DbError> {
        Journal::begin(&self.0.join(DATABASE), start)
    }

    /// Goes on in the journal of a run that ended early. `sha256` is of its file, as it is now.
    pub fn resume_journal(&self, run: &str, sha256: &str) -> Result<Journal, DbError> {
        Journal::resume(&self.0.join(DATABASE), run, sha256)
    }

    /// What the journal says of a run; `None` where there is none of that id.
    pub fn left(&self, run: &str) -> Result<Option<Left>, DbError> {
        Left::read(&self.0.join(DATABASE), run)
    }

    /// The last run of each pipeline, the latest first.
    pub fn last_runs(&self) -> Result<Vec<LastRun>, DbError> {
        last_runs(&self.0.join(DATABASE))
    }

    /// Finds a run by its id, or by a beginning or an end of it.
    pub fn find_run(&self, word: &str) -> Result<FoundRun, DbError> {
        find_run(&self.0.join(DATABASE), word)
    }

    /// What the programs of a run printed.
    pub fn logs(&self, run: &str) -> Logs {
        Logs::new(self.0.join("logs").join(run))
    }

    /// Takes the lock of a group of runs, or says who holds it. The folder must be there.
    pub fn take_group(&self, group: &str, holder: &str) -> Result<Result<GroupLock, Holder>, Error> {
        let folder = self.0.join("groups");
        GroupLock::take(&folder, group, holder).map_err(|source| Error::Io { path: folder, source })
    }

    /// Makes a folder for the work of one run, or takes that of a run that is resumed; `None` where the run is at work.
    pub fn create_work(&self, run: &str) -> Result<Option<WorkDir>, Error> {
        let all = self.0.join("work");
        let path = all.join(run);
        let failed = |source| Error::Io { path: path.clone(), source };
        private_dir(&all).map_err(failed)?;
        // Held while folders come and go, so that nobody takes one that is being made for one that was left.
        let _held = locked(&all.join("lock"), FlockOperation::LockExclusive).map_err(failed)?;
        private_dir(&path).map_err(failed)?;
        match locked(&path.join("lock"), FlockOperation::NonBlockingLockExclusive) {
            Ok(alive) => Ok(Some(WorkDir { path, alive })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes the work folders of runs whose process is gone, but for runs of these ids.
    pub fn sweep_work(&self, kept: &HashSet<String>) -> io::Result<()> {
        let all = self.0.join("work");
        let _held = locked(&all.join("lock"), FlockOperation::LockExclusive)?;
        sweep(&all, |name| kept.contains(name));
        Ok(())
    }
}

/// A folder for the work of one run. Its lock tells other processes that the run is alive.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    alive: File,
}

impl WorkDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its lock, for who must hold it too.
    pub fn lock(&self) -> io::Result<File> {
        self.alive.try_clone()
    }

    /// Removes all that is in it, but for files of these names: a later session of the run has a use for them.
    pub fn keep(&self, names: &HashSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_kept = entry.file_name().to_str().is_some_and(|name| name == "lock" || names.contains(name));
            match entry.file_type()?.is_dir() {
                _ if is_kept => {}
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }

    /// Removes it with all that is in it.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

fn locked(path: &Path, operation: FlockOperation) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    flock(&file, operation)?;
    Ok(file)
}

/// Removes the folders of runs that were killed: what was spooled there may be plaintext. Only what tl made is touched: a
/// real folder, named as a run, with a lock in it.
fn sweep(all: &Path, is_kept: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.filter_map(Result::ok) {
        let is_run = entry.file_name().to_str().is_some_and(|name| Ulid::from_string(name).is_ok() && !is_kept(name));
        if !is_run || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(lock) = open(entry.path().join("lock"), flags, Mode::empty()) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // The next run tries again.
            let _left = fs::remove_dir_all(entry.path());
        }
    }
}

pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The mode given above passes through the umask, which may have taken something away.
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

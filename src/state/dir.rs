use std::collections::HashSet;
use std::env;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::process::geteuid;
use ulid::Ulid;

/// The state folder.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No flag or variable names it.
    #[error("neither `--state`, `TL_STATE`, `XDG_STATE_HOME` nor `HOME` says where the state is kept")]
    Nowhere,
    /// It cannot be created or used.
    #[error("the state folder `{}` cannot be used", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Others can write in it.
    #[error("others can write in the state folder `{}` (mode {mode:04o}, uid {owner})", path.display())]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: u32,
    },
}

impl StateDir {
    /// Locates the folder: the given one, else `$TL_STATE`, else the platform's folder for state.
    pub fn locate(given: Option<&Path>) -> Result<Self, Error> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = given
            .map(Path::to_owned)
            .or_else(|| set("TL_STATE"))
            // systemd sets it for a unit with `StateDirectory=`; several stand with colons between.
            .or_else(|| set("STATE_DIRECTORY").and_then(|all| env::split_paths(&all).next()))
            .or_else(|| set("XDG_STATE_HOME").map(|home| home.join("timelocker")))
            .or_else(|| set("HOME").map(|home| home.join(".local/state/timelocker")))
            .ok_or(Error::Nowhere)?;
        // Absolute: the programs of a run have a working folder of their own.
        std::path::absolute(&path).map(Self).map_err(|source| Error::Io { path, source })
    }

    /// Creates it if it is missing.
    pub fn create(&self) -> Result<(), Error> {
        let failed = |source| Error::Io { path: self.0.clone(), source };
        private_dir(&self.0).map_err(failed)?;
        let about = fs::metadata(&self.0).map_err(failed)?;
        // Another user who can write here can replace the audit log together with its key.
        let foreign = about.uid() != geteuid().as_raw() && about.uid() != 0;
        if foreign || about.mode() & 0o022 != 0 {
            return Err(Error::Exposed { path: self.0.clone(), mode: about.mode() & 0o7777, owner: about.uid() });
        }
        Ok(())
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of the audit log.
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit")
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.0.join("state.db")
    }

    /// Creates the work folder of a run, or takes it for a resumed run; `None` if another process works on the run.
    pub fn create_work(&self, run: &str) -> Result<Option<WorkDir>, Error> {
        let all = self.0.join("work");
        let path = all.join(run);
        let failed = |source| Error::Io { path: path.clone(), source };
        private_dir(&all).map_err(failed)?;
        // Held while a folder is created and locked: a sweep must not take it for one that a killed run left.
        let _held = locked(&all.join("lock"), FlockOperation::LockExclusive).map_err(failed)?;
        private_dir(&path).map_err(failed)?;
        match locked(&path.join("lock"), FlockOperation::NonBlockingLockExclusive) {
            Ok(alive) => Ok(Some(WorkDir { path, alive })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes the work folders of runs whose process is gone, except of these runs.
    pub fn sweep_work(&self, kept: &HashSet<String>) -> io::Result<()> {
        let all = self.0.join("work");
        let _held = locked(&all.join("lock"), FlockOperation::LockExclusive)?;
        sweep(&all, |name| kept.contains(name));
        Ok(())
    }
}

/// The work folder of one run. Its lock tells other processes that the run is at work.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    alive: File,
}

impl WorkDir {
    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle on its lock, for the supervisor of the run's programs.
    pub fn lock(&self) -> io::Result<File> {
        self.alive.try_clone()
    }

    /// Removes its content, except files of these names, which a later session of the run needs.
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

    /// Removes it with its content.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

fn locked(path: &Path, operation: FlockOperation) -> io::Result<File> {
    let options = || File::options().read(true).write(true).clone();
    let file = match options().create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            // The umask may have reduced it.
            file.set_permissions(Permissions::from_mode(0o600))?;
            file
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options().open(path)?,
        Err(error) => return Err(error),
    };
    flock(&file, operation)?;
    Ok(file)
}

/// Removes the folders of runs that were killed, since a spooled artifact may be plaintext. Touches only what tl made: a real
/// folder that is named as a run and holds a lock.
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
            // The next run tries again if this fails.
            let _left = fs::remove_dir_all(entry.path());
        }
    }
}

pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    // One after the other: the umask may reduce a mode so far that nothing can be created below.
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        private_dir(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

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
        private_dir(&self.0).map_err(|source| Error::Io { path: self.0.clone(), source })
    }

    /// The folder of the audit log.
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit")
    }

    /// Makes a folder for the work of one run.
    pub fn create_work(&self, run: &str) -> Result<PathBuf, Error> {
        let path = self.0.join("work").join(run);
        private_dir(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        Ok(path)
    }
}

fn private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The mode given above passes through the umask, which may have taken something away.
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

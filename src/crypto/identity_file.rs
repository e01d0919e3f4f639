//! Files of identities.
//!
//! A file that others can read, that belongs to another user, or that has a second hard link is refused. age does not check
//! this.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::{Identity, LineError, parse_identities};

/// Why a file of identities cannot be used. Never holds any part of it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFileError {
    /// It cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be created.
    #[error("`{}` cannot be made", path.display())]
    Unmade {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It exists already.
    #[error("`{}` exists already and was left as it is", .0.display())]
    Exists(PathBuf),
    /// Others can read or change it.
    #[error("`{}` {reason}", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Completes the sentence "the file …".
        reason: String,
    },
    /// Its content is not a list of identities.
    #[error("`{}`", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: LineError,
    },
}

/// The most bytes that are read: far more identities than anybody has.
const LARGEST: u64 = 1 << 20;

/// Reads a file of identities. The file must belong to this user or root, have mode 0600 or less, and have one name.
///
/// # Errors
///
/// [`IdentityFileError`]; `Exposed` before a byte of it is read.
pub fn read_identities(path: &Path) -> Result<Vec<Identity>, IdentityFileError> {
    let io = |source| IdentityFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    let exposed = |reason| Err(IdentityFileError::Exposed { path: path.to_owned(), reason });
    // The mode of anything else, such as a pipe from a password manager, means nothing.
    if about.is_file() {
        let (mode, owner) = (about.mode() & 0o7777, about.uid());
        if mode & 0o077 != 0 {
            return exposed(format!("can be read or changed by others (mode {mode:04o}): `chmod 600` it"));
        }
        if owner != geteuid().as_raw() && owner != 0 {
            return exposed(format!("belongs to another user (uid {owner})"));
        }
        if about.nlink() > 1 {
            return exposed("has a second name (hard link): copy it and remove the others".to_owned());
        }
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST).read_to_string(&mut text).map_err(io)?;
    parse_identities(&text).map_err(|source| IdentityFileError::Content { path: path.to_owned(), source })
}

/// Creates a file with one new identity, mode 0600, in the form that `age-keygen` writes.
///
/// # Errors
///
/// [`IdentityFileError::Exists`] if the file exists: an identity is never overwritten.
pub fn create_identity(path: &Path, created: &str) -> Result<Identity, IdentityFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityFileError::Exists(path.to_owned()),
        _ => IdentityFileError::Unmade { path: path.to_owned(), source },
    };
    let identity = Identity::generate();
    let secret = identity.encode();
    let text =
        Zeroizing::new(format!("# created: {created}\n# public key: {}\n{}\n", identity.recipient(), secret.expose()));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(identity)
}

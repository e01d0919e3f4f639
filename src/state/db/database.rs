use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::migrate::{NEWEST, check_version, migrate};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{StatVfsMountFlags, statvfs};

/// A failure of the database in the state folder.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A later release wrote it.
    #[error("`{}` was written by {}, and this is release {}", path.display(), writer(release.as_deref()), env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The file.
        path: PathBuf,
        /// The release, if the file names it.
        release: Option<String>,
    },
    /// The file is damaged or is no database.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The error of `SQLite`.
        source: rusqlite::Error,
    },
    /// The file cannot be created or found.
    #[error("`{}` cannot be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file cannot be read or written.
    #[error("`{}` cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error of `SQLite`.
        source: rusqlite::Error,
    },
}

fn writer(release: Option<&str>) -> String {
    release.map_or_else(|| "a later release".to_owned(), |release| format!("release {release}"))
}

impl DbError {
    /// Whether the disk is mounted read-only.
    pub fn is_read_only(&self) -> bool {
        match (self, self.sqlite_code()) {
            (_, Some(ErrorCode::ReadOnly)) => true,
            (Self::Unusable { path, .. }, Some(ErrorCode::CannotOpen)) => {
                statvfs(path).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::RDONLY))
            }
            _ => false,
        }
    }

    fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Damaged { source, .. } | Self::Unusable { source, .. } => source.sqlite_error_code(),
            Self::Newer { .. } | Self::Io { .. } => None,
        }
    }
}

/// How long to wait for another process that holds the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// The database of a state folder: `state.db` in WAL mode, durable at each commit.
#[derive(Debug)]
pub(in crate::state) struct Db {
    pub(in crate::state) connection: Connection,
    path: PathBuf,
}

impl Db {
    /// Opens the database, creates it if it is missing, and migrates it to the version of this release.
    pub(in crate::state) fn open(path: &Path) -> Result<Self, DbError> {
        private(path).map_err(|source| DbError::Io { path: path.to_owned(), source })?;
        let failed = |source| failed(path, source);
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, Folder::Writable)?;
        // Before the first write: a database of a later release must stay as it is.
        check_version(&connection, path)?;
        retry_busy(|| connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))).map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        migrate(&mut connection, path)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Opens an existing database to read it; `None` if it is missing. A database of an earlier release, or of a process that was
    /// killed while creating it, is migrated first: without its tables it would look as if nothing ever ran.
    ///
    /// `SQLite` writes beside a database even to read it. In a folder that cannot be written, such as one on read-only media or on a
    /// full disk,
    /// the file alone is read, as it is, if no log beside it holds a part of it.
    pub(in crate::state) fn peek(path: &Path) -> Result<Option<Self>, DbError> {
        if !path.exists() {
            return Ok(None);
        }
        let needs_writing = |error: &DbError| {
            use ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
            matches!(error.sqlite_code(), Some(ReadOnly | CannotOpen | DiskFull | SystemIoFailure))
        };
        match Self::look(path, Folder::Writable) {
            Ok(Some(db)) => return Ok(Some(db)),
            // A hot journal needs a writable handle to roll back.
            Err(error) if !needs_writing(&error) => return Err(error),
            Ok(None) | Err(_) => {}
        }
        match Self::open(path) {
            Ok(db) => drop(db),
            Err(error) if has_log(path) => return Err(error),
            Err(error) => return Self::look(path, Folder::Unwritable)?.map_or(Err(error), |db| Ok(Some(db))),
        }
        Self::look(path, Folder::Writable)
    }

    /// Opens it read-only; `None` if it is older than this release.
    fn look(path: &Path, folder: Folder) -> Result<Option<Self>, DbError> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, folder)?;
        let is_current = check_version(&connection, path)? == NEWEST;
        Ok(is_current.then(|| Self { connection, path: path.to_owned() }))
    }

    /// Turns the error of a statement into ours.
    pub(in crate::state) fn failed(&self, source: rusqlite::Error) -> DbError {
        failed(&self.path, source)
    }
}

/// Whether files can be created beside the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Folder {
    Writable,
    Unwritable,
}

/// Whether a log beside the database holds transactions that the file itself lacks.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|about| about.len() > 0)
}

fn connect(path: &Path, access: OpenFlags, folder: Folder) -> Result<Connection, DbError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // NOFOLLOW refuses a link anywhere in the path. Only the file itself must be no link; the folders above may be.
    let real = fs::canonicalize(path.parent().unwrap_or(path))
        .map(|folder| folder.join(path.file_name().unwrap_or_default()))
        .map_err(|source| DbError::Io { path: path.to_owned(), source })?;
    let connect = || {
        let connection = match folder {
            Folder::Writable => Connection::open_with_flags(real, flags)?,
            Folder::Unwritable => {
                let uri = format!("file:{}?immutable=1", uri_path(&real));
                Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
            }
        };
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    };
    connect().map_err(|source| failed(path, source))
}

/// A path as `SQLite` reads it in a URI: <https://www.sqlite.org/uri.html>.
fn uri_path(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let escaped = |&byte: &u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.as_os_str().as_bytes().iter().map(escaped).collect()
}

/// A path as a column holds it: text, or bytes if it is not UTF-8.
pub(in crate::state) fn path_value(path: &Path) -> Value {
    let path = path.as_os_str();
    path.to_str().map_or_else(|| Value::Blob(path.as_bytes().to_vec()), |text| text.to_owned().into())
}

/// The path in a column.
pub(in crate::state) fn path_of(value: ValueRef<'_>) -> PathBuf {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => PathBuf::from(OsStr::from_bytes(bytes)),
        _ => PathBuf::new(),
    }
}

pub(super) fn failed(path: &Path, source: rusqlite::Error) -> DbError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DbError::Damaged { path, source },
        _ => DbError::Unusable { path, source },
    }
}

/// Creates an empty file with mode 0600; `SQLite` gives `-wal` and `-shm` the same mode. An existing file is not opened: closing
/// it would drop the POSIX locks that `SQLite` holds on it in this process.
pub(super) fn private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let about = fs::symlink_metadata(path)?;
    if about.is_file() && about.permissions().mode() & 0o777 != 0o600 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Retries while another process holds the database. `SQLite` refuses the switch to WAL at once, without `busy_timeout`.
fn retry_busy<T>(mut go: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let start = Instant::now();
    loop {
        match go() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

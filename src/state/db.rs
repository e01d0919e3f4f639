use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

/// A failure of the database in the state folder.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A later release wrote it.
    #[error("`{}` has version {found}, and this release knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this release knows.
        known: usize,
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

impl DbError {
    fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Damaged { source, .. } | Self::Unusable { source, .. } => source.sqlite_error_code(),
            Self::Newer { .. } | Self::Io { .. } => None,
        }
    }
}

/// The statements that make each version from the one before; `user_version` counts them. A released one never changes.
const MIGRATIONS: &[&str] = &["
CREATE TABLE outbox (
    id           TEXT NOT NULL,  -- the same for each attempt
    channel      TEXT NOT NULL,  -- its name in the pipeline file
    pipeline     TEXT NOT NULL,
    file         NOT NULL,       -- path of the pipeline file, where the channel is found again; bytes where it is no text
    inputs       TEXT NOT NULL,  -- JSON: the settings of the channel may use them
    message      TEXT NOT NULL,  -- JSON
    state        TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    created      TEXT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_at      TEXT NOT NULL,
    claimed_by   TEXT,           -- who is sending it; of no meaning when its process is gone
    last_error   TEXT,
    delivered_at TEXT,
    answer       TEXT,
    PRIMARY KEY (id, channel)
);
CREATE INDEX outbox_pending ON outbox (next_at) WHERE state = 'pending';
", "
CREATE TABLE texts (
    sha256  TEXT PRIMARY KEY,    -- of the content, in hexadecimal
    content BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE versions (
    id         INTEGER PRIMARY KEY,
    path       NOT NULL,         -- of the pipeline file; bytes where it is no text
    number     INTEGER NOT NULL, -- from 1, for each path
    digest     TEXT NOT NULL,    -- what tells one set of texts from another
    pipeline   TEXT NOT NULL,    -- its name
    kept       TEXT NOT NULL,
    first_used TEXT,             -- by a run; none where it was kept only because another text took its place
    last_used  TEXT,
    UNIQUE (path, number),
    UNIQUE (path, digest)
);
CREATE TABLE version_files (
    version  INTEGER NOT NULL REFERENCES versions (id),
    position INTEGER NOT NULL,   -- 0 is the pipeline file itself
    path     NOT NULL,
    sha256   TEXT NOT NULL REFERENCES texts (sha256),
    PRIMARY KEY (version, position)
) WITHOUT ROWID;
", "
CREATE TABLE runs (
    id        TEXT PRIMARY KEY,
    pipeline  TEXT NOT NULL,
    file      NOT NULL,          -- path of the pipeline file; bytes where it is no text
    sha256    TEXT NOT NULL,     -- of that file, in hexadecimal
    inputs    TEXT,              -- JSON; none where they hold a secret
    fixed     TEXT NOT NULL,     -- JSON: what expressions see of the run and the place where it runs
    session   INTEGER NOT NULL DEFAULT 1, -- how often it was started or resumed
    process   INTEGER NOT NULL,  -- id of the process at work
    since     INTEGER NOT NULL,  -- when that process began, in ticks since the machine did
    started   TEXT NOT NULL,
    ended     TEXT,
    outcome   TEXT,
    exit_code INTEGER,
    seconds   REAL,
    error     TEXT               -- JSON
) WITHOUT ROWID;
CREATE INDEX runs_of_pipeline ON runs (pipeline, id);
CREATE TABLE stages (
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage    TEXT NOT NULL,
    instance TEXT NOT NULL,      -- what people call it; empty for a stage itself
    position INTEGER NOT NULL,   -- in the order in which they were first heard of
    kind     TEXT,
    session  INTEGER NOT NULL,   -- the last one that had to do with it
    attempt  INTEGER NOT NULL DEFAULT 0,
    started  TEXT,
    ended    TEXT,
    outcome  TEXT,
    seconds  REAL,
    bytes    INTEGER,
    outputs  TEXT,               -- JSON, secrets masked
    reason   TEXT,
    error    TEXT,               -- JSON
    PRIMARY KEY (run, stage, instance)
) WITHOUT ROWID;
CREATE TABLE remarks (            -- warnings, and why an attempt failed that was made again
    id       INTEGER PRIMARY KEY,
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage    TEXT NOT NULL,
    instance TEXT NOT NULL,
    session  INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    at       TEXT NOT NULL,
    is_retry INTEGER NOT NULL,
    problem  TEXT NOT NULL       -- JSON
);
CREATE INDEX remarks_of_run ON remarks (run);
CREATE TABLE effects (            -- what is proven done, for a run that is resumed
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage    TEXT NOT NULL,
    instance INTEGER NOT NULL,   -- its number; -1 for a stage without a matrix
    key      TEXT NOT NULL,      -- of all that it depends on
    outputs  TEXT NOT NULL,      -- JSON
    artifact TEXT,               -- JSON: file in the work folder, length and digest
    warned   INTEGER NOT NULL,
    PRIMARY KEY (run, stage, instance)
) WITHOUT ROWID;
CREATE TABLE deliveries (         -- objects on their way: what may be left of them, and what tells that one is the run's own
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    uri      TEXT NOT NULL,
    began    TEXT NOT NULL,
    coming   TEXT,               -- JSON, once all its bytes are with the store and it is about to appear
    PRIMARY KEY (run, uri)
) WITHOUT ROWID;
", "
ALTER TABLE runs ADD COLUMN left_out TEXT; -- JSON: the stages that a selection left undone; none where there are none
ALTER TABLE runs ADD COLUMN good TEXT;     -- when all of it last ended well; a later session does not take that back
UPDATE runs SET good = ended WHERE outcome IN ('success', 'warning');
ALTER TABLE deliveries ADD COLUMN upload TEXT; -- JSON: an upload in parts that can go on
CREATE TABLE stale_told (         -- what `tl stale` has told of
    file NOT NULL PRIMARY KEY,   -- path of the pipeline file; bytes where it is no text
    due  TEXT NOT NULL           -- the due time that had passed
) WITHOUT ROWID;
", "
ALTER TABLE runs ADD COLUMN counts TEXT;   -- how far its success is proven; none where it does not count as one
ALTER TABLE runs ADD COLUMN reason TEXT;   -- why it does not count although it ended well
ALTER TABLE runs ADD COLUMN files INTEGER; -- that it collected
ALTER TABLE runs ADD COLUMN bytes INTEGER; -- that it delivered
ALTER TABLE effects ADD COLUMN at TEXT;    -- when it was done
"];

/// How long to wait for another process that holds the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// The database of a state folder: `state.db` in WAL mode, durable at each commit.
#[derive(Debug)]
pub(super) struct Db {
    pub(super) connection: Connection,
    path: PathBuf,
}

impl Db {
    /// Opens the database, creates it if it is missing, and migrates it to the version of this release.
    pub(super) fn open(path: &Path) -> Result<Self, DbError> {
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
    /// `SQLite` writes beside a database even to read it. In a folder that cannot be written, such as a copy on read-only media,
    /// the file alone is read, as it is, if no log beside it holds a part of it.
    pub(super) fn peek(path: &Path) -> Result<Option<Self>, DbError> {
        if !path.exists() {
            return Ok(None);
        }
        let needs_writing =
            |error: &DbError| matches!(error.sqlite_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen));
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
        let is_current = check_version(&connection, path)? == MIGRATIONS.len();
        Ok(is_current.then(|| Self { connection, path: path.to_owned() }))
    }

    /// Turns the error of a statement into ours.
    pub(super) fn failed(&self, source: rusqlite::Error) -> DbError {
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
pub(super) fn path_value(path: &Path) -> Value {
    let path = path.as_os_str();
    path.to_str().map_or_else(|| Value::Blob(path.as_bytes().to_vec()), |text| text.to_owned().into())
}

/// The path in a column.
pub(super) fn path_of(value: ValueRef<'_>) -> PathBuf {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => PathBuf::from(OsStr::from_bytes(bytes)),
        _ => PathBuf::new(),
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> DbError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DbError::Damaged { path, source },
        _ => DbError::Unusable { path, source },
    }
}

/// Creates an empty file with mode 0600; `SQLite` gives `-wal` and `-shm` the same mode. An existing file is not opened: closing
/// it would drop the POSIX locks that `SQLite` holds on it in this process.
fn private(path: &Path) -> io::Result<()> {
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

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The number of migrations that were applied. Fails for a later release.
fn check_version(connection: &Connection, path: &Path) -> Result<usize, DbError> {
    let found = version(connection).map_err(|source| failed(path, source))?;
    match usize::try_from(found) {
        Ok(seen) if seen <= MIGRATIONS.len() => Ok(seen),
        _ => Err(DbError::Newer { path: path.to_owned(), found, known: MIGRATIONS.len() }),
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), DbError> {
    if check_version(connection, path)? == MIGRATIONS.len() {
        return Ok(());
    }
    let failed = |source| failed(path, source);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Read again under the write lock: another process may have migrated meanwhile.
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(check_version(&transaction, path)?) {
        transaction.execute_batch(migration).map_err(failed)?;
        transaction.pragma_update(None, "user_version", number + 1).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
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

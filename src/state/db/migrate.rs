//! The versions of the database, and the way from one to the next.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, TransactionBehavior};

use super::database::{DbError, failed, private};

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
ALTER TABLE runs ADD COLUMN waiting TEXT;  -- the group that it waits for
ALTER TABLE deliveries ADD COLUMN disproved TEXT; -- JSON: what was in `coming`, and was found lost or damaged
ALTER TABLE effects ADD COLUMN at TEXT;    -- when it was done
CREATE TABLE written_by (         -- for releases that do not know this version
    version INTEGER PRIMARY KEY,
    release TEXT NOT NULL         -- the first one that wrote it
);
"];

/// The version of this release.
pub(super) const NEWEST: usize = MIGRATIONS.len();

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The number of migrations that were applied. Fails for a later release.
pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<usize, DbError> {
    let found = version(connection).map_err(|source| failed(path, source))?;
    match usize::try_from(found) {
        Ok(seen) if seen <= NEWEST => Ok(seen),
        _ => {
            let sql = "SELECT release FROM written_by WHERE version = ?1";
            let release = connection.query_row(sql, [found], |row| row.get(0)).ok();
            Err(DbError::Newer { path: path.to_owned(), release })
        }
    }
}

/// Migrates a database to the version of this release. Keeps the one of an earlier release beside it: who has to go back to that
/// release finds what it wrote.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), DbError> {
    match check_version(connection, path)? {
        NEWEST => return Ok(()),
        0 => {}
        earlier => back_up(connection, path, earlier)?,
    }
    let failed = |source| failed(path, source);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Read again under the write lock: another process may have migrated meanwhile.
    let seen = check_version(&transaction, path)?;
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(seen) {
        transaction.execute_batch(migration).map_err(failed)?;
        transaction.pragma_update(None, "user_version", number + 1).map_err(failed)?;
    }
    if seen < NEWEST {
        let sql = "INSERT INTO written_by VALUES (?1, ?2)";
        let row = (i64::try_from(NEWEST).unwrap_or(i64::MAX), env!("CARGO_PKG_VERSION"));
        transaction.execute(sql, row).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Copies the database of an earlier version to `state.db.vN`, durably, unless that is there. A copy that is not whole has another
/// name: a kill leaves none that looks whole.
fn back_up(connection: &Connection, path: &Path, earlier: usize) -> Result<(), DbError> {
    let kept = beside(path, &format!(".v{earlier}"));
    if kept.exists() {
        return Ok(());
    }
    let unfinished = beside(path, &format!(".v{earlier}.{}", std::process::id()));
    match copy(connection, &unfinished, &kept, earlier) {
        // Another process was faster, and has removed what it found unfinished.
        Err(_) if kept.exists() => Ok(()),
        Err(error) => {
            let _gone = fs::remove_file(&unfinished);
            Err(error)
        }
        Ok(()) => {
            remove_unfinished(&kept);
            Ok(())
        }
    }
}

fn copy(connection: &Connection, unfinished: &Path, kept: &Path, earlier: usize) -> Result<(), DbError> {
    let io = |source: io::Error| DbError::Io { path: unfinished.to_owned(), source };
    private(unfinished).map_err(io)?;
    let copied = || {
        let mut copied = Connection::open(unfinished)?;
        Backup::new(connection, &mut copied)?.run_to_completion(PAGES, Duration::ZERO, None)?;
        // One file, without a log beside it.
        copied.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        version(&copied)
    };
    let found = copied().map_err(|source| failed(unfinished, source))?;
    // Another process may have migrated the database in between.
    if usize::try_from(found) != Ok(earlier) {
        return fs::remove_file(unfinished).map_err(io);
    }
    File::open(unfinished).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(unfinished, kept).map_err(io)?;
    File::open(kept.parent().unwrap_or(kept)).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Pages copied at once.
const PAGES: i32 = 1_000;

/// Removes what processes that were killed left of a copy.
fn remove_unfinished(kept: &Path) {
    let (Some(folder), Some(name)) = (kept.parent(), kept.file_name()) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let other = entry.file_name();
        let rest = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        if rest.is_some_and(|rest| rest.starts_with(b".")) {
            // The next migration tries again.
            let _left = fs::remove_file(entry.path());
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

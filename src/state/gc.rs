//! Removes old runs, logs, work folders, messages and texts.
//!
//! Files are removed before the rows that name them, in short transactions: after a kill, the next call continues. The last good
//! run of each file stays, since `stale` asks for it, and so does work that may be resumed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::Serialize;
use ulid::Ulid;

use super::db::{Db, DbError};
use super::dir::StateDir;
use super::history::{FAILED, GOOD, SUPERSEDED};
use super::outbox::{KEPT, stamp};

/// The ages up to which things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Keeps runs that started less than this ago.
    pub runs: Duration,
    /// Keeps logs that were written to less than this ago.
    pub logs: Duration,
    /// Report only; delete nothing.
    pub dry_run: bool,
}

/// The counts of what was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Runs, with their stages and remarks.
    pub runs: usize,
    /// Folders of logs.
    pub logs: usize,
    /// Work folders.
    pub work: usize,
    /// Delivered messages.
    pub messages: usize,
    /// Texts that no version uses.
    pub texts: usize,
    /// Bytes in the removed files.
    pub bytes: u64,
}

/// The most runs that one transaction deletes, so that writers do not wait long.
const AT_ONCE: usize = 200;

impl StateDir {
    /// Removes what is old; creates nothing. Runs at work are left alone.
    pub fn collect_garbage(&self, keep: Keep) -> Result<Removed, DbError> {
        let path = self.database();
        // Read only at first: on a full disk it can be written once something else is gone.
        let Some(db) = Db::peek(&path)? else { return Ok(Removed::default()) };
        let collection = Collection { work: self.path().join("work"), logs: self.path().join("logs"), db, keep };
        collection.run(&path)
    }
}

struct Collection {
    work: PathBuf,
    logs: PathBuf,
    db: Db,
    keep: Keep,
}

impl Collection {
    fn run(mut self, path: &Path) -> Result<Removed, DbError> {
        let mut removed = Removed::default();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DbError::Io { path, source }
        };
        // Starting or resuming a run takes this lock first, so no run begins meanwhile.
        let _held = hold(&self.work.join("lock"), self.keep.dry_run).map_err(failed(&self.work))?;
        self.logs(&mut removed).map_err(failed(&self.logs))?;
        self.work(&mut removed)?;
        if !self.keep.dry_run {
            match Db::open(path) {
                Ok(db) => self.db = db,
                // The next call removes more.
                Err(_) if removed.bytes > 0 => return Ok(removed),
                Err(error) => return Err(error),
            }
        }
        self.rows(&mut removed).map_err(|error| self.db.failed(error))?;
        Ok(removed)
    }

    fn logs(&self, removed: &mut Removed) -> io::Result<()> {
        let oldest = SystemTime::now().checked_sub(self.keep.logs).unwrap_or(SystemTime::UNIX_EPOCH);
        for folder in folders_of_runs(&self.logs)? {
            let own = self.work.join(folder.file_name().unwrap_or_default());
            if written(&folder) < oldest && matches!(work_use(&own), WorkUse::Idle(_)) {
                removed.bytes += size(&folder);
                removed.logs += 1;
                self.remove(&folder)?;
            }
        }
        Ok(())
    }

    /// Removes work folders that no resume needs: of runs that ended well, are unknown or were superseded. A run that failed or was
    /// interrupted may be resumed.
    fn work(&self, removed: &mut Removed) -> Result<(), DbError> {
        let failed = |source| DbError::Io { path: self.work.clone(), source };
        for folder in folders_of_runs(&self.work).map_err(failed)? {
            let WorkUse::Idle(_held) = work_use(&folder) else { continue };
            let id = folder.file_name().unwrap_or_default().to_string_lossy();
            if self.is_done_with(&id).map_err(|error| self.db.failed(error))? {
                removed.bytes += size(&folder);
                removed.work += 1;
                self.remove(&folder).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn is_done_with(&self, id: &str) -> rusqlite::Result<bool> {
        let sql = format!(
            "SELECT {GOOD} AND NOT {FAILED} OR coalesce(outcome, '') IN ('skipped', 'blocked') AND session = 1 OR {SUPERSEDED}
             FROM runs WHERE id = ?1"
        );
        let known = self.db.connection.query_row(&sql, [id], |row| row.get(0)).optional()?;
        Ok(known.unwrap_or(true))
    }

    fn rows(&mut self, removed: &mut Removed) -> rusqlite::Result<()> {
        let before = stamp(self.keep.runs, true);
        let old = format!("started < ?1 AND NOT {LAST_GOOD} AND NOT {HAS_OPEN_UPLOAD}");
        let ids: Vec<String> = {
            let mut statement = self.db.connection.prepare(&format!("SELECT id FROM runs WHERE {old}"))?;
            statement.query_map([&before], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
        };
        // The work folder of an interrupted run goes before its row.
        let ids: Vec<String> = ids.into_iter().filter(|id| self.let_go(id, removed)).collect();
        removed.runs = ids.len();
        let delivered = stamp(KEPT, true);
        if self.keep.dry_run {
            removed.messages = count(&self.db.connection, "outbox", DELIVERED, &[&delivered])?;
            removed.texts = count(&self.db.connection, "texts", UNREFERENCED, &[])?;
            return Ok(());
        }
        for some in ids.chunks(AT_ONCE) {
            let transaction = self.db.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for id in some {
                transaction.prepare_cached("DELETE FROM runs WHERE id = ?1")?.execute([id])?;
            }
            transaction.commit()?;
        }
        removed.messages =
            self.db.connection.execute(&format!("DELETE FROM outbox WHERE {DELIVERED}"), [&delivered])?;
        removed.texts = self.db.connection.execute(&format!("DELETE FROM texts WHERE {UNREFERENCED}"), [])?;
        Ok(())
    }

    /// Whether an old run can be deleted: it is idle and its work folder is gone.
    fn let_go(&self, id: &str, removed: &mut Removed) -> bool {
        let folder = self.work.join(id);
        let WorkUse::Idle(_held) = work_use(&folder) else { return false };
        // A dry run has already counted this folder in `work`.
        let is_counted = self.keep.dry_run && self.is_done_with(id).unwrap_or(true);
        if !folder.exists() || is_counted {
            return true;
        }
        let bytes = size(&folder);
        let is_gone = self.remove(&folder).is_ok();
        if is_gone {
            removed.bytes += bytes;
            removed.work += 1;
        }
        is_gone
    }

    fn remove(&self, folder: &Path) -> io::Result<()> {
        if self.keep.dry_run {
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // The lock goes last: it marks the folder as ours.
            if entry.file_name() == "lock" {
                continue;
            }
            if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }?;
        }
        fs::remove_dir_all(folder)
    }
}

/// SQL: the last good run of a file. `stale` needs it, however old it is.
const LAST_GOOD: &str =
    "(good IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs AS later WHERE later.pipeline = runs.pipeline
    AND later.file = runs.file AND later.id > runs.id AND later.good IS NOT NULL))";
/// SQL: a run with an unfinished upload. Only its row knows the upload; the next run of the file aborts it.
const HAS_OPEN_UPLOAD: &str =
    "EXISTS (SELECT 1 FROM deliveries WHERE deliveries.run = runs.id AND deliveries.upload IS NOT NULL)";
const DELIVERED: &str = "state = 'delivered' AND delivered_at < ?1";
const UNREFERENCED: &str = "sha256 NOT IN (SELECT sha256 FROM version_files)";

fn count(connection: &Connection, table: &str, clause: &str, values: &[&String]) -> rusqlite::Result<usize> {
    let sql = format!("SELECT count(*) FROM {table} WHERE {clause}");
    connection
        .query_row(&sql, rusqlite::params_from_iter(values), |row| row.get::<_, i64>(0))
        .map(|rows| usize::try_from(rows).unwrap_or_default())
}

/// Takes a lock, exclusive or shared; `None` if the file is missing.
fn hold(path: &Path, shared: bool) -> io::Result<Option<File>> {
    match opened(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            flock(&file, if shared { FlockOperation::LockShared } else { FlockOperation::LockExclusive })?;
            Ok(Some(file))
        }
    }
}

fn opened(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Whether a process uses a work folder.
enum WorkUse {
    /// No process does. The lock is held; `None` if the folder or its lock is missing.
    Idle(Option<File>),
    /// A process does, or that cannot be determined.
    Busy,
}

fn work_use(folder: &Path) -> WorkUse {
    match opened(&folder.join("lock")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => WorkUse::Idle(None),
        Ok(file) if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() => WorkUse::Idle(Some(file)),
        _ => WorkUse::Busy,
    }
}

/// The real folders that are named as runs.
fn folders_of_runs(all: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_run = entry.file_name().to_str().is_some_and(|name| Ulid::from_string(name).is_ok());
        if is_run && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// When a folder or an entry of it was last written to.
fn written(folder: &Path) -> SystemTime {
    let time = |about: io::Result<fs::Metadata>| about.and_then(|about| about.modified()).ok();
    let inside = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let times = inside.filter_map(|entry| time(entry.metadata())).chain(time(fs::symlink_metadata(folder)));
    // Unknown counts as now, so that the folder stays.
    times.max().unwrap_or_else(SystemTime::now)
}

fn size(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).map(|entry| size(&entry.path())).sum()
}

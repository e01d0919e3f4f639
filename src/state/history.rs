//! Reads the journals of runs. A connection that cannot write reads one snapshot of the WAL: no reader waits for a writer, and
//! no writer for a reader.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::db::{Db, DbError, path_of, path_value};
use super::dir::StateDir;
use super::record::{Failure, LastGood, Record, Remark, Run, RunSize, RunState, StageRun};
use crate::diagnostic::{Code, Diagnostic, ExitCode, codes};
use crate::event::{Assurance, Outcome};

/// The journals of all runs of a state folder.
#[derive(Debug)]
pub struct Runs {
    db: Db,
    work: PathBuf,
}

/// Selects runs. Each field that is set narrows the selection.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The name of the pipeline.
    pub pipeline: Option<String>,
    /// The pipeline file, by any of its paths.
    pub files: Option<Vec<PathBuf>>,
    /// The outcome; also `running` and `interrupted`.
    pub outcome: Option<String>,
    /// Only runs that ended.
    pub ended: bool,
    /// The earliest start: RFC 3339, UTC.
    pub since: Option<String>,
    /// At most this number, the newest.
    pub last: Option<usize>,
}

impl StateDir {
    /// Opens the journals to read them; `None` if there is no database.
    pub fn runs(&self) -> Result<Option<Runs>, DbError> {
        let path = self.database();
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DbError::Io { path, source }),
            Ok(_) => {}
        }
        Ok(Db::peek(&path)?.map(|db| Runs { db, work: self.path().join("work") }))
    }

    /// Device and inode of the database; `None` if there is none.
    pub fn journal_file(&self) -> Option<(u64, u64)> {
        let about = fs::symlink_metadata(self.database()).ok()?;
        Some((about.dev(), about.ino()))
    }
}

impl Runs {
    /// Lists runs, newest first.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Run>, DbError> {
        let mut clauses = vec![if filter.ended { "ended IS NOT NULL" } else { "TRUE" }.to_owned()];
        let mut values: Vec<Value> = Vec::new();
        let mut clause = |text: &str, value: Value| {
            values.push(value);
            clauses.push(text.replace('?', &format!("?{}", values.len())));
        };
        if let Some(pipeline) = &filter.pipeline {
            clause("pipeline = ?", pipeline.clone().into());
        }
        if let Some(since) = &filter.since {
            clause("started >= ?", since.clone().into());
        }
        match filter.outcome.as_deref() {
            None => {}
            Some("running" | "interrupted") => clause("outcome IS ?", Value::Null),
            Some(word) => clause("outcome = ?", word.to_owned().into()),
        }
        if let Some(files) = &filter.files {
            let marks: Vec<String> = (0..files.len()).map(|number| format!("?{}", values.len() + 1 + number)).collect();
            values.extend(files.iter().map(|file| path_value(file)));
            clauses.push(format!("file IN ({})", marks.join(", ")));
        }
        let fits = |run: &Run| filter.outcome.as_deref().is_none_or(|word| run.word() == word);
        self.select(&clauses.join(" AND "), &values, &fits, filter.last.unwrap_or(usize::MAX))
    }

    /// The run of this id.
    pub fn get(&self, id: &str) -> Result<Option<Run>, DbError> {
        Ok(self.select("id = ?1", &[id.to_owned().into()], &|_| true, 1)?.pop())
    }

    /// Everything that is known of a run, from one snapshot.
    pub fn record(&self, id: &str) -> Result<Option<Record>, DbError> {
        self.at_once(|| {
            let Some(run) = self.get(id)? else { return Ok(None) };
            Ok(Some(Record { stages: self.stages(id)?, remarks: self.remarks(id)?, run }))
        })
    }

    /// The runs without an end, with their stages, oldest first. Leaves out interrupted runs that a later run of the same file
    /// with the same inputs superseded: other inputs are another backup.
    pub fn unended(&self) -> Result<Vec<(Run, Vec<StageRun>)>, DbError> {
        self.at_once(|| {
            let mut runs = self.select("ended IS NULL", &[], &|_| true, usize::MAX)?;
            runs.reverse();
            let mut found = Vec::new();
            for run in runs {
                if run.state == RunState::Running || !self.is_superseded(&run.id)? {
                    let stages = self.stages(&run.id)?;
                    found.push((run, stages));
                }
            }
            Ok(found)
        })
    }

    fn is_superseded(&self, id: &str) -> Result<bool, DbError> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1 AND {SUPERSEDED})");
        self.db.connection.query_row(&sql, [id], |row| row.get(0)).map_err(|error| self.db.failed(error))
    }

    /// The stages of a run, in the order of their first event.
    pub fn stages(&self, run: &str) -> Result<Vec<StageRun>, DbError> {
        // An effect is durable before the end of its stage is: after a crash or a full disk it may be all that tells of it.
        let sql = "SELECT stage, instance, kind, session, attempt, started, ended, coalesce(outcome,
                   (SELECT iif(warned, 'warning', 'success') FROM effects WHERE effects.run = stages.run
                    AND effects.stage = stages.stage AND effects.instance = -1 AND stages.instance = '')),
                   seconds, bytes, outputs, reason, error
                   FROM stages WHERE run = ?1 ORDER BY position, instance";
        self.rows(sql, &[run.to_owned().into()], stage)
    }

    /// The first failed stage of a run; an instance comes before its stage.
    pub fn failure(&self, run: &str) -> Result<Option<Failure>, DbError> {
        let sql = "SELECT stage, instance, error ->> '$.code' FROM stages WHERE run = ?1 AND outcome = 'failure'
                   ORDER BY error IS NULL, position, instance = '', instance LIMIT 1";
        let failure = |row: &Row<'_>| {
            Ok(Failure { stage: row.get(0)?, instance: instance(row.get(1)?), code: code(row.get(2)?) })
        };
        Ok(self.rows(sql, &[run.to_owned().into()], failure)?.pop())
    }

    fn remarks(&self, run: &str) -> Result<Vec<Remark>, DbError> {
        let sql =
            "SELECT stage, instance, session, attempt, at, is_retry, problem FROM remarks WHERE run = ?1 ORDER BY id";
        let remark = |row: &Row<'_>| {
            Ok(Remark {
                stage: row.get(0)?,
                instance: instance(row.get(1)?),
                session: row.get(2)?,
                attempt: row.get(3)?,
                at: row.get(4)?,
                is_retry: row.get(5)?,
                problem: problem(&row.get::<_, String>(6)?),
            })
        };
        self.rows(sql, &[run.to_owned().into()], remark)
    }

    /// The sorted names of all pipelines that ever ran.
    pub fn pipelines(&self) -> Result<Vec<String>, DbError> {
        self.rows("SELECT DISTINCT pipeline FROM runs ORDER BY pipeline", &[], |row| row.get(0))
    }

    /// Each file with a version that a run used: its path, the number of the last used version, and the time of the first use.
    pub fn kept_files(&self) -> Result<Vec<(PathBuf, u32, String)>, DbError> {
        let sql =
            "SELECT path, number, (SELECT min(first_used) FROM versions AS other WHERE other.path = versions.path),
                   max(last_used) FROM versions WHERE last_used IS NOT NULL GROUP BY path ORDER BY path";
        self.rows(sql, &[], |row| Ok((path_of(row.get_ref(0)?), row.get(1)?, row.get(2)?)))
    }

    /// When a run of each pipeline file last counted as a success, not after `now` (RFC 3339, UTC, milliseconds). A time from a clock
    /// that was ahead would silence `stale` until that time.
    pub fn last_good(&self, now: &str) -> Result<Vec<LastGood>, DbError> {
        let sql = "SELECT file, min(CASE WHEN started <= ?1 THEN started END), max(CASE WHEN good <= ?1 THEN good END) \
             FROM runs GROUP BY file ORDER BY file";
        let good =
            |row: &Row<'_>| Ok(LastGood { file: path_of(row.get_ref(0)?), first: row.get(1)?, good: row.get(2)? });
        self.rows(sql, &[now.to_owned().into()], good)
    }

    /// Whether messages were queued that a pipeline file is overdue, for a due time before `good`.
    pub fn was_told_late(&self, file: &Path, good: &str) -> Result<bool, DbError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM stale_told WHERE file = ?1 AND due < ?2)";
        let told = self.rows(sql, &[path_value(file), good.to_owned().into()], |row| row.get(0))?;
        Ok(told.into_iter().any(|told| told))
    }

    /// How much the last runs of a file handled that counted as a success, newest first; without the run `but`.
    pub fn sizes(&self, file: &Path, but: &str, most: usize) -> Result<Vec<RunSize>, DbError> {
        let sql =
            "SELECT files, bytes FROM runs WHERE file = ?1 AND id <> ?2 AND good IS NOT NULL ORDER BY id DESC LIMIT ?3";
        let number = |value: Option<i64>| value.map(i64::cast_unsigned);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let size = |row: &Row<'_>| Ok(RunSize { files: number(row.get(0)?), bytes: number(row.get(1)?) });
        self.rows(sql, &[path_value(file), but.to_owned().into(), most.into()], size)
    }

    /// A number that changes whenever another connection writes. Cheap: it reads shared memory.
    pub fn change(&self) -> Result<i64, DbError> {
        let read = self.db.connection.pragma_query_value(None, "data_version", |row| row.get(0));
        read.map_err(|error| self.db.failed(error))
    }

    /// Whether a process works on a run. The kernel's lock on its work folder decides, never its age or process id.
    pub fn is_alive(&self, run: &str) -> bool {
        let _idle = IdleLock::of(&self.work);
        is_held(&self.work.join(run))
    }

    fn select(
        &self,
        clause: &str,
        values: &[Value],
        fits: &dyn Fn(&Run) -> bool,
        most: usize,
    ) -> Result<Vec<Run>, DbError> {
        let idle = IdleLock::of(&self.work);
        let read = || {
            let mut statement = self.db.connection.prepare_cached(&format!(
                "SELECT id, pipeline, file, sha256, inputs, session, process, started, ended, outcome, exit_code, seconds, left_out, error, counts, good, reason, files, bytes, waiting
                 FROM runs WHERE {clause} ORDER BY id DESC"
            ))?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut found = Vec::new();
            while found.len() < most
                && let Some(row) = rows.next()?
            {
                let run = run(row, &self.work)?;
                if fits(&run) {
                    found.push(run);
                }
            }
            Ok(found)
        };
        let found = read().map_err(|error| self.db.failed(error));
        drop(idle);
        found
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: &[Value],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, DbError> {
        let all = || {
            let mut statement = self.db.connection.prepare_cached(sql)?;
            statement.query_map(params_from_iter(values), read)?.collect::<rusqlite::Result<Vec<T>>>()
        };
        all().map_err(|error| self.db.failed(error))
    }

    /// Runs several queries on one snapshot. In WAL mode this does not hold up a writer.
    fn at_once<T>(&self, ask: impl FnOnce() -> Result<T, DbError>) -> Result<T, DbError> {
        let moment = self.db.connection.unchecked_transaction().map_err(|error| self.db.failed(error))?;
        let answer = ask();
        moment.finish().map_err(|error| self.db.failed(error))?;
        answer
    }
}

/// SQL: a run did everything.
pub(super) const GOOD: &str = "(coalesce(runs.outcome, '') IN ('success', 'warning') AND runs.left_out IS NULL)";

/// SQL: a stage of a run failed, also under `continue-on-error`.
pub(super) const FAILED: &str = "EXISTS (SELECT 1 FROM stages WHERE stages.run = runs.id AND stages.error IS NOT NULL)";

/// SQL: a later run of the same file with the same inputs, which did something, superseded the run. A run that never had all its
/// secrets (session 0) has nothing to resume, whatever the inputs, and supersedes none.
pub(super) const SUPERSEDED: &str = "EXISTS (SELECT 1 FROM runs AS later WHERE later.pipeline = runs.pipeline
    AND later.id > runs.id AND later.file = runs.file
    AND (later.inputs IS runs.inputs OR runs.session = 0)
    AND coalesce(later.outcome, '') NOT IN ('skipped', 'blocked') AND later.session > 0)";

fn run(row: &Row<'_>, work: &Path) -> rusqlite::Result<Run> {
    let id: String = row.get(0)?;
    let ended: Option<String> = row.get(8)?;
    let state = match &ended {
        Some(_) => RunState::Ended,
        None if is_held(&work.join(&id)) => RunState::Running,
        None => RunState::Interrupted,
    };
    Ok(Run {
        pipeline: row.get(1)?,
        file: path_of(row.get_ref(2)?),
        sha256: row.get(3)?,
        inputs: json(row.get(4)?),
        sessions: row.get(5)?,
        process: row.get(6)?,
        state,
        waiting: row.get::<_, Option<String>>(19)?.filter(|_| state == RunState::Running),
        started: row.get(7)?,
        ended,
        outcome: outcome(row.get(9)?),
        exit_code: exit_code(row.get(10)?),
        seconds: row.get(11)?,
        left_out: json(row.get(12)?).unwrap_or_default(),
        error: row.get::<_, Option<String>>(13)?.as_deref().map(problem),
        counts: row.get::<_, Option<String>>(14)?.as_deref().and_then(Assurance::from_word),
        good: row.get(15)?,
        reason: row.get(16)?,
        files: row.get::<_, Option<i64>>(17)?.map(i64::cast_unsigned),
        bytes: row.get::<_, Option<i64>>(18)?.map(i64::cast_unsigned),
        id,
    })
}

fn stage(row: &Row<'_>) -> rusqlite::Result<StageRun> {
    Ok(StageRun {
        stage: row.get(0)?,
        instance: instance(row.get(1)?),
        kind: row.get(2)?,
        session: row.get(3)?,
        attempt: row.get(4)?,
        started: row.get(5)?,
        ended: row.get(6)?,
        outcome: outcome(row.get(7)?),
        seconds: row.get(8)?,
        bytes: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
        outputs: json(row.get(10)?),
        reason: row.get(11)?,
        error: row.get::<_, Option<String>>(12)?.as_deref().map(problem),
    })
}

fn instance(column: String) -> Option<String> {
    Some(column).filter(|name| !name.is_empty())
}

fn json<T: DeserializeOwned>(column: Option<String>) -> Option<T> {
    column.and_then(|text| serde_json::from_str(&text).ok())
}

fn code(column: Option<String>) -> Option<Code> {
    column.and_then(|text| text.parse().ok())
}

/// The outcome that a column names. A word that no release wrote is none.
pub(super) fn outcome(column: Option<String>) -> Option<Outcome> {
    column.and_then(|word| Outcome::from_word(&word))
}

/// The exit code that a column holds.
pub(super) fn exit_code(column: Option<u8>) -> Option<ExitCode> {
    column.and_then(|number| number.try_into().ok())
}

/// The problem that a column holds. Text that is no diagnostic is shown as it is: it may be all that is known.
fn problem(text: &str) -> Diagnostic {
    serde_json::from_str(text).unwrap_or_else(|_| Diagnostic::failure(codes::TL0901, text))
}

/// Whether a process works on the run with this work folder. A free lock is taken for a moment.
pub(super) fn is_held(folder: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match open(folder.join("lock"), flags, Mode::empty()) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK),
        // The run of another user. Only that one can tell whether it is at work.
        Err(error) => error == Errno::ACCESS,
    }
}

/// Holds the lock under which work folders are created and removed. Without it, a new run could find the lock of its new folder
/// taken by [`is_held`]. After a quarter of a second without the lock, the caller looks all the same.
struct IdleLock {
    _held: Option<rustix::fd::OwnedFd>,
}

impl IdleLock {
    fn of(work: &Path) -> Self {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(lock) = open(work.join("lock"), flags, Mode::empty()) else { return Self { _held: None } };
        let held = (0..50).any(|_| {
            let is_taken = flock(&lock, FlockOperation::NonBlockingLockShared).is_ok();
            if !is_taken {
                thread::sleep(Duration::from_millis(5));
            }
            is_taken
        });
        Self { _held: held.then_some(lock) }
    }
}

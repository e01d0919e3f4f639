//! What runs did, read back. Nothing here writes, waits for a writer, or makes one wait.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use serde::de::DeserializeOwned;

use super::db::{Db, DbError, path_of, path_value};
use super::dir::{DATABASE, StateDir};
use super::record::{Failure, LastGood, Life, Record, Remark, Run, StageRun};
use crate::diagnostic::{Code, Diagnostic, ExitCode, codes};
use crate::event::Outcome;

/// The journals of all runs of a state folder, to be read.
#[derive(Debug)]
pub struct Runs {
    db: Db,
    work: PathBuf,
}

/// Which runs are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of a pipeline of this name.
    pub pipeline: Option<String>,
    /// Of a file, by any of these paths.
    pub files: Option<Vec<PathBuf>>,
    /// That ended so; also `running` and `interrupted`.
    pub outcome: Option<String>,
    /// That have an end.
    pub ended: bool,
    /// That started then or later: RFC 3339, UTC.
    pub since: Option<String>,
    /// So many at most, the newest.
    pub last: Option<usize>,
}

impl StateDir {
    /// The journals of runs, to be read; `None` where there are none yet.
    pub fn runs(&self) -> Result<Option<Runs>, DbError> {
        let path = self.path().join(DATABASE);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DbError::Io { path, source }),
            Ok(_) => {}
        }
        Ok(Db::peek(&path)?.map(|db| Runs { db, work: self.path().join("work") }))
    }

    /// Which file the journals are in, as the system tells files apart; none where there is none.
    pub fn journal_file(&self) -> Option<(u64, u64)> {
        let about = fs::symlink_metadata(self.path().join(DATABASE)).ok()?;
        Some((about.dev(), about.ino()))
    }
}

impl Runs {
    /// Runs, newest first.
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

    /// All that is known of a run, as it was in one moment.
    pub fn record(&self, id: &str) -> Result<Option<Record>, DbError> {
        self.at_once(|| {
            let Some(run) = self.get(id)? else { return Ok(None) };
            Ok(Some(Record { stages: self.stages(id)?, remarks: self.remarks(id)?, run }))
        })
    }

    /// Those that have no end, with their stages, oldest first. Interrupted ones are left out where a later run of the same
    /// file with the same inputs took their place.
    pub fn unended(&self) -> Result<Vec<(Run, Vec<StageRun>)>, DbError> {
        self.at_once(|| {
            let mut runs = self.select("ended IS NULL", &[], &|_| true, usize::MAX)?;
            runs.reverse();
            let mut found = Vec::new();
            for run in runs {
                if run.life == Life::Running || !self.is_superseded(&run.id)? {
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

    /// The stages of a run, in the order in which they were first heard of.
    pub fn stages(&self, run: &str) -> Result<Vec<StageRun>, DbError> {
        let sql = "SELECT stage, instance, kind, session, attempt, started, ended, outcome, seconds, bytes, outputs, reason, error
                   FROM stages WHERE run = ?1 ORDER BY position, instance";
        self.rows(sql, &[run.to_owned().into()], stage)
    }

    /// The first stage of a run that failed, instances before the stage that they belong to.
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

    /// The names of all pipelines that ever ran, in order.
    pub fn pipelines(&self) -> Result<Vec<String>, DbError> {
        self.rows("SELECT DISTINCT pipeline FROM runs ORDER BY pipeline", &[], |row| row.get(0))
    }

    /// Each file whose text was kept because a run started with it: its path, the number of the last such text, and when
    /// the first one was used.
    pub fn kept_files(&self) -> Result<Vec<(PathBuf, u32, String)>, DbError> {
        let sql =
            "SELECT path, number, (SELECT min(first_used) FROM versions AS other WHERE other.path = versions.path),
                   max(last_used) FROM versions WHERE last_used IS NOT NULL GROUP BY path ORDER BY path";
        self.rows(sql, &[], |row| Ok((path_of(row.get_ref(0)?), row.get(1)?, row.get(2)?)))
    }

    /// When each pipeline file last did what it should, as far as that was before `now` (RFC 3339, UTC, milliseconds): what a
    /// clock that was ahead left behind would silence `stale` for as long.
    pub fn last_good(&self, now: &str) -> Result<Vec<LastGood>, DbError> {
        let sql =
            "SELECT file, min(started), max(CASE WHEN good <= ?1 THEN good END) FROM runs GROUP BY file ORDER BY file";
        let good =
            |row: &Row<'_>| Ok(LastGood { file: path_of(row.get_ref(0)?), first: row.get(1)?, good: row.get(2)? });
        self.rows(sql, &[now.to_owned().into()], good)
    }

    /// Changes whenever another connection changed something. Costs a look at shared memory.
    pub fn change(&self) -> Result<i64, DbError> {
        let read = self.db.connection.pragma_query_value(None, "data_version", |row| row.get(0));
        read.map_err(|error| self.db.failed(error))
    }

    /// Whether the process of a run is at work, by the lock that the kernel holds for it.
    pub fn is_alive(&self, run: &str) -> bool {
        let _quiet = Quiet::of(&self.work);
        is_held(&self.work.join(run))
    }

    fn select(
        &self,
        clause: &str,
        values: &[Value],
        fits: &dyn Fn(&Run) -> bool,
        most: usize,
    ) -> Result<Vec<Run>, DbError> {
        let quiet = Quiet::of(&self.work);
        let read = || {
            let mut statement = self.db.connection.prepare_cached(&format!(
                "SELECT id, pipeline, file, sha256, inputs, session, process, started, ended, outcome, exit_code, seconds, left_out, error
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
        drop(quiet);
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

    /// Several questions about one moment. In WAL mode, what a writer does meanwhile is not seen and not held up.
    fn at_once<T>(&self, ask: impl FnOnce() -> Result<T, DbError>) -> Result<T, DbError> {
        let moment = self.db.connection.unchecked_transaction().map_err(|error| self.db.failed(error))?;
        let answer = ask();
        moment.finish().map_err(|error| self.db.failed(error))?;
        answer
    }
}

/// That a run did all that it should.
pub(super) const GOOD: &str = "(coalesce(runs.outcome, '') IN ('success', 'warning') AND runs.left_out IS NULL)";

/// That a stage of a run failed, also where the run forgives it.
pub(super) const FAILED: &str = "EXISTS (SELECT 1 FROM stages WHERE stages.run = runs.id AND stages.error IS NOT NULL)";

/// That another run took the place of the one of this row: later, of the same file with the same inputs, and one that did
/// something.
pub(super) const SUPERSEDED: &str = "EXISTS (SELECT 1 FROM runs AS later WHERE later.pipeline = runs.pipeline
    AND later.id > runs.id AND later.file = runs.file AND later.inputs IS runs.inputs
    AND coalesce(later.outcome, '') NOT IN ('skipped', 'blocked'))";

fn run(row: &Row<'_>, work: &Path) -> rusqlite::Result<Run> {
    let id: String = row.get(0)?;
    let ended: Option<String> = row.get(8)?;
    let life = match &ended {
        Some(_) => Life::Ended,
        None if is_held(&work.join(&id)) => Life::Running,
        None => Life::Interrupted,
    };
    Ok(Run {
        pipeline: row.get(1)?,
        file: path_of(row.get_ref(2)?),
        sha256: row.get(3)?,
        inputs: json(row.get(4)?),
        sessions: row.get(5)?,
        process: row.get(6)?,
        life,
        started: row.get(7)?,
        ended,
        outcome: outcome(row.get(9)?),
        exit_code: exit_code(row.get(10)?),
        seconds: row.get(11)?,
        left_out: json(row.get(12)?).unwrap_or_default(),
        error: row.get::<_, Option<String>>(13)?.as_deref().map(problem),
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

/// Whether the process of the run with this work folder is at work. Looking takes the lock for a moment where it is free.
pub(super) fn is_held(folder: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(lock) = open(folder.join("lock"), flags, Mode::empty()) else { return false };
    flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// As long as it lives, no work folder comes or goes: whoever makes one would otherwise find its new lock taken by
/// somebody who only looks. Where folders come and go for longer, it is looked at all the same.
struct Quiet {
    _held: Option<rustix::fd::OwnedFd>,
}

impl Quiet {
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

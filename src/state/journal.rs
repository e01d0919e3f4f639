use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::{Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde_json::Value as Json;
use tracing::{Span, debug};

use super::db::{Db, DbError, path_value};
use super::deliveries::DeliveryStep;
use super::outbox::stamp;
use super::prior_run::{Effect, Start};
use crate::diagnostic::{Diagnostic, ExitCode};
use crate::event::{Outcome, What};
use crate::process::Process;
use crate::value::BatchQueue;

/// Writes what a run does to the database, on a thread of its own: everything that waits is one transaction, so that many units
/// that end together cost one sync.
///
/// What a unit did is durable before its dependants start ([`Self::commit`]). Events for display ride along and may be lost in
/// a crash ([`Self::log`]).
#[derive(Debug)]
pub struct Journal {
    session: u32,
    entries: Arc<BatchQueue<JournalEntry>>,
    thread: Option<JoinHandle<()>>,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The outcome.
    pub outcome: Outcome,
    /// The exit code of the process.
    pub exit_code: ExitCode,
    /// The duration of this session.
    pub seconds: f64,
    /// The stages that a selection left undone.
    pub left_out: Vec<String>,
    /// Why it was stopped or could not start.
    pub error: Option<Diagnostic>,
}

impl Finish {
    /// The end that `RunEnded` tells of.
    pub fn of(what: &What) -> Option<Self> {
        let What::RunEnded { outcome, exit_code, seconds, left_out, error } = what else { return None };
        let (left_out, error) = (left_out.clone(), error.clone());
        Some(Self { outcome: *outcome, exit_code: *exit_code, seconds: *seconds, left_out, error })
    }
}

type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

enum JournalEntry {
    Event(Box<What>),
    LeftOut { stage: String, instance: Option<String>, reason: Option<String> },
    Effects(Vec<Effect>, Done),
    Forget(Vec<(String, Option<usize>)>, Done),
    Delivery { uri: String, step: DeliveryStep, done: Done },
    Finish(Finish, Done),
}

impl Journal {
    /// Begins the journal of a run, durably.
    pub(super) fn begin(db: &Path, start: &Start) -> Result<Self, DbError> {
        let db = Db::open(db)?;
        let Process { id, since } = Process::own();
        let insert = || {
            let inputs = start.inputs.clone().map(|inputs| Json::Object(inputs).to_string());
            db.connection.execute(
                "INSERT INTO runs (id, pipeline, file, sha256, inputs, fixed, process, since, started)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    start.run,
                    start.pipeline,
                    path_value(&start.file),
                    start.sha256,
                    inputs,
                    start.fixed.to_string(),
                    id,
                    since.cast_signed(),
                    now()
                ],
            )
        };
        insert().map_err(|error| db.failed(error))?;
        Ok(Self::of(db, start.run.clone(), 1))
    }

    /// Begins another session of a run, durably.
    pub(super) fn resume(db: &Path, run: &str, sha256: &str) -> Result<Self, DbError> {
        let db = Db::open(db)?;
        let Process { id, since } = Process::own();
        let update = || {
            db.connection.query_row(
                "UPDATE runs SET session = session + 1, process = ?2, since = ?3, sha256 = ?4, ended = NULL, outcome = NULL,
                 exit_code = NULL, left_out = NULL, error = NULL WHERE id = ?1 RETURNING session",
                params![run, id, since.cast_signed(), sha256],
                |row| row.get(0),
            )
        };
        let session = update().map_err(|error| db.failed(error))?;
        Ok(Self::of(db, run.to_owned(), session))
    }

    fn of(db: Db, run: String, session: u32) -> Self {
        let entries = Arc::<BatchQueue<JournalEntry>>::default();
        let (writer, span, waiting) =
            (Writer { db, run, session, is_full: true }, Span::current(), Arc::clone(&entries));
        let thread = thread::spawn(move || span.in_scope(|| writer.work(&waiting)));
        Self { session, entries, thread: Some(thread) }
    }

    /// The session, counted from 1.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Writes an event of a stage, soon: a crash may lose it, since it is only for display. Other events are not kept.
    pub fn log(&self, what: What) {
        self.entries.push(JournalEntry::Event(Box::new(what)));
    }

    /// Writes that a stage was not selected, soon. The end that an earlier session wrote stays.
    pub fn log_left_out(&self, stage: String, instance: Option<String>, reason: Option<String>) {
        self.entries.push(JournalEntry::LeftOut { stage, instance, reason });
    }

    /// Writes effects durably, all or none, and then calls `done`.
    pub fn commit(&self, effects: Vec<Effect>, done: impl FnOnce(Result<(), String>) + Send + 'static) {
        self.entries.push_urgent(JournalEntry::Effects(effects, Box::new(done)));
    }

    /// Deletes the effects of these stages or instances, durably, before it returns. They will be done again; a kill in between
    /// must leave nothing that counts as done after them.
    pub fn forget(&self, stages: Vec<(String, Option<usize>)>) -> Result<(), String> {
        self.wait(|done| JournalEntry::Forget(stages, done))
    }

    /// Writes a step of a delivery, durably, before it returns.
    pub fn deliver(&self, uri: &str, step: DeliveryStep) -> Result<(), String> {
        self.wait(|done| JournalEntry::Delivery { uri: uri.to_owned(), step, done })
    }

    /// Writes the end of the run, durably, before it returns.
    pub fn finish(&self, finish: Finish) -> Result<(), String> {
        self.wait(|done| JournalEntry::Finish(finish, done))
    }

    fn wait(&self, entry: impl FnOnce(Done) -> JournalEntry) -> Result<(), String> {
        let (tell, told) = channel();
        let done: Done = Box::new(move |result| drop(tell.send(result)));
        self.entries.push_urgent(entry(done));
        told.recv().unwrap_or_else(|_| Err("the journal ended".to_owned()))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Its last entries are written before it ends.
        self.entries.close();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

struct Writer {
    db: Db,
    run: String,
    session: u32,
    /// Whether a commit waits for the disk, as the connection is set now.
    is_full: bool,
}

impl Writer {
    fn work(mut self, waiting: &BatchQueue<JournalEntry>) {
        let mut unwritten = Vec::new();
        waiting.work(|entries| {
            let mut batch = std::mem::take(&mut unwritten);
            batch.extend(entries);
            let result = self.write(&batch).map_err(|error| spoken(&self.db.failed(error)));
            for entry in batch {
                match entry {
                    JournalEntry::Event(what) if matches!(*what, What::StageProgress { .. }) => {}
                    // Nobody waits for these, so nobody would learn that they are missing: try again.
                    JournalEntry::Event(_) | JournalEntry::LeftOut { .. } if result.is_err() => unwritten.push(entry),
                    JournalEntry::Event(_) | JournalEntry::LeftOut { .. } => {}
                    JournalEntry::Effects(_, done)
                    | JournalEntry::Forget(_, done)
                    | JournalEntry::Delivery { done, .. }
                    | JournalEntry::Finish(_, done) => done(result.clone()),
                }
            }
        });
    }

    fn write(&mut self, batch: &[JournalEntry]) -> rusqlite::Result<()> {
        let begun = Instant::now();
        // What is only for display reaches the disk with the next entry that must.
        let must_last =
            batch.iter().any(|entry| !matches!(entry, JournalEntry::Event(_) | JournalEntry::LeftOut { .. }));
        if must_last != self.is_full {
            let level = if must_last { "FULL" } else { "NORMAL" };
            self.db.connection.pragma_update(None, "synchronous", level)?;
            self.is_full = must_last;
        }
        let transaction = self.db.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows = Rows { transaction: &transaction, run: &self.run, session: self.session };
        for entry in batch {
            match entry {
                JournalEntry::Event(what) => rows.event(what)?,
                JournalEntry::LeftOut { stage, instance, reason } => {
                    rows.left_out(stage, instance.as_deref(), reason.as_deref())?;
                }
                JournalEntry::Effects(effects, _) => effects.iter().try_for_each(|effect| rows.effect(effect))?,
                JournalEntry::Forget(stages, _) => stages.iter().try_for_each(|stage| rows.forget(stage))?,
                JournalEntry::Delivery { uri, step, .. } => rows.delivery(uri, step)?,
                JournalEntry::Finish(finish, _) => rows.finish(finish)?,
            }
        }
        transaction.commit()?;
        debug!(entries = batch.len(), must_last, micros = begun.elapsed().as_micros(), "journal written");
        Ok(())
    }
}

struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    run: &'a str,
    session: u32,
}

impl Rows<'_> {
    fn run(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.transaction.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn event(&self, what: &What) -> rusqlite::Result<()> {
        let (run, session) = (self.run, self.session);
        // A stage itself has an empty instance.
        let name = |instance: &Option<String>| instance.clone().unwrap_or_default();
        match what {
            What::StageStarted { stage, instance, kind, attempt } => self.run(
                "INSERT INTO stages (run, stage, instance, position, kind, session, attempt, started)
                 VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET kind = ?4, session = ?5, attempt = ?6, ended = NULL, outcome = NULL, seconds = NULL,
                 started = iif(?6 = 1, ?7, started), bytes = NULL, outputs = NULL, reason = NULL, error = NULL",
                params![run, stage, name(instance), kind, session, attempt, now()],
            ),
            What::StageProgress { stage, instance, bytes } => self.run(
                "UPDATE stages SET bytes = ?4 WHERE run = ?1 AND stage = ?2 AND instance = ?3",
                params![run, stage, name(instance), bytes.cast_signed()],
            ),
            What::StageWarning { stage, instance, warning } => self.remark(stage, &name(instance), false, warning),
            What::StageRetrying { stage, instance, error, .. } => self.remark(stage, &name(instance), true, error),
            What::StageEnded { stage, instance, outcome, seconds, outputs, reason, error, .. } => self.run(
                "INSERT INTO stages (run, stage, instance, position, session, ended, outcome, seconds, outputs, reason, error)
                 VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT DO UPDATE SET session = ?4, ended = ?5, outcome = ?6, seconds = ?7, outputs = ?8, reason = ?9,
                 error = ?10",
                params![
                    run,
                    stage,
                    name(instance),
                    session,
                    now(),
                    outcome.word(),
                    seconds,
                    text(outputs),
                    reason,
                    error.as_ref().map(text)
                ],
            ),
            _ => Ok(()),
        }
    }

    fn remark(&self, stage: &str, instance: &str, is_retry: bool, problem: &Diagnostic) -> rusqlite::Result<()> {
        self.run(
            "INSERT INTO remarks (run, stage, instance, session, attempt, at, is_retry, problem)
             VALUES (?1, ?2, ?3, ?4, coalesce((SELECT attempt FROM stages WHERE run = ?1 AND stage = ?2 AND instance = ?3), 0),
             ?5, ?6, ?7)",
            params![self.run, stage, instance, self.session, now(), is_retry, text(problem)],
        )
    }

    fn left_out(&self, stage: &str, instance: Option<&str>, reason: Option<&str>) -> rusqlite::Result<()> {
        self.run(
            "INSERT INTO stages (run, stage, instance, position, session, ended, outcome, reason)
             VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, 'skipped', ?6)
             ON CONFLICT DO UPDATE SET session = ?4, ended = ?5, outcome = 'skipped', reason = ?6 WHERE stages.ended IS NULL",
            params![self.run, stage, instance.unwrap_or_default(), self.session, now(), reason],
        )
    }

    fn effect(&self, effect: &Effect) -> rusqlite::Result<()> {
        self.run(
            "INSERT OR REPLACE INTO effects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                self.run,
                effect.stage,
                number(effect.instance),
                effect.key,
                effect.outputs.to_string(),
                effect.artifact.as_ref().map(Json::to_string),
                effect.warned
            ],
        )
    }

    fn forget(&self, (stage, instance): &(String, Option<usize>)) -> rusqlite::Result<()> {
        let sql = "DELETE FROM effects WHERE run = ?1 AND stage = ?2 AND instance = ?3";
        self.run(sql, params![self.run, stage, number(*instance)])
    }

    fn delivery(&self, uri: &str, step: &DeliveryStep) -> rusqlite::Result<()> {
        let (column, value) = step.column(&now());
        let insert = "INSERT INTO deliveries (run, uri, began) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.run(insert, params![self.run, uri, now()])?;
        let update = format!("UPDATE deliveries SET {column} = ?3 WHERE run = ?1 AND uri = ?2");
        self.run(&update, params![self.run, uri, value])
    }

    fn finish(&self, finish: &Finish) -> rusqlite::Result<()> {
        self.run(
            "UPDATE runs SET ended = ?2, outcome = ?3, exit_code = ?4, seconds = coalesce(seconds, 0) + ?5, left_out = ?6, error = ?7,
             good = iif(?3 IN ('success', 'warning') AND ?6 IS NULL, ?2, good) WHERE id = ?1",
            params![
                self.run,
                now(),
                finish.outcome.word(),
                u8::from(finish.exit_code),
                finish.seconds,
                (!finish.left_out.is_empty()).then(|| Json::from(finish.left_out.clone()).to_string()),
                finish.error.as_ref().map(text)
            ],
        )
    }
}

/// JSON as a column holds it.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The number of an instance as a column holds it; -1 without a matrix.
fn number(instance: Option<usize>) -> i64 {
    instance.map_or(-1, |number| i64::try_from(number).unwrap_or(i64::MAX))
}

/// An error with its cause on one line.
fn spoken(error: &DbError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn now() -> String {
    stamp(std::time::Duration::ZERO, false)
}

#[cfg(test)]
mod tests {
    use super::super::prior_run::{Delivery, PriorRun};
    use super::*;
    use serde_json::{Map, json};

    fn start(run: &str) -> Start {
        Start {
            run: run.to_owned(),
            pipeline: "p".to_owned(),
            file: "/p.yaml".into(),
            sha256: "00".to_owned(),
            inputs: Some(Map::new()),
            fixed: json!({ "run": { "id": run } }),
        }
    }

    fn effect(stage: &str, instance: Option<usize>) -> Effect {
        let outputs = json!({ "files": 3 });
        Effect { stage: stage.to_owned(), instance, key: "k".to_owned(), outputs, artifact: None, warned: false }
    }

    #[test]
    fn what_was_put_down_is_there_after_the_writer_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("state.db");
        let journal = Journal::begin(&db, &start("r")).unwrap();
        let (tell, told) = channel();
        let effects = vec![effect("a", None), effect("b", Some(2))];
        journal.commit(effects.clone(), move |result| tell.send(result).unwrap());
        told.recv().unwrap().unwrap();
        let steps = [
            DeliveryStep::Begun,
            DeliveryStep::Opened(json!({ "id": "u" })),
            DeliveryStep::Coming(json!([{ "token": "t" }])),
        ];
        steps.into_iter().for_each(|step| journal.deliver("s3://b/k", step).unwrap());

        let left = PriorRun::read(&db, "r").unwrap().unwrap();
        assert_eq!((left.effects, left.end), (effects, None));
        let Delivery { coming, upload, .. } = &left.deliveries[0];
        assert_eq!((coming, upload), (&Some(json!([{ "token": "t" }])), &Some(json!({ "id": "u" }))));
        journal.deliver("s3://b/k", DeliveryStep::Closed).unwrap();
        let left = PriorRun::read(&db, "r").unwrap().unwrap();
        assert_eq!((left.deliveries[0].coming.is_some(), &left.deliveries[0].upload), (true, &None));
        assert_eq!(left.start.inputs, Some(Map::new()));
        assert!(PriorRun::read(&db, "other").unwrap().is_none());

        let (stage, instance) = ("a".to_owned(), None);
        journal.log(What::StageStarted {
            stage: stage.clone(),
            instance: instance.clone(),
            kind: "run".to_owned(),
            attempt: 1,
        });
        journal.log(What::StageProgress { stage, instance, bytes: 7 });
        drop(journal);
        let again = Journal::resume(&db, "r", "01").unwrap();
        assert_eq!(again.session(), 2);
        let finish = Finish {
            outcome: Outcome::Success,
            exit_code: ExitCode::Success,
            seconds: 1.5,
            left_out: Vec::new(),
            error: None,
        };
        again.finish(finish).unwrap();
        assert_eq!(PriorRun::read(&db, "r").unwrap().unwrap().end.map(|end| end.outcome), Some(Outcome::Success));
    }

    #[test]
    fn many_units_that_end_together_share_a_commit() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("state.db");
        let journal = Journal::begin(&db, &start("r")).unwrap();
        let (tell, told) = channel();
        for number in 0..10_000 {
            let tell = tell.clone();
            journal.commit(vec![effect("m", Some(number))], move |result| tell.send(result).unwrap());
        }
        drop(tell);
        assert_eq!(told.iter().flatten().count(), 10_000);
        assert_eq!(PriorRun::read(&db, "r").unwrap().unwrap().effects.len(), 10_000);
    }
}

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::{Transaction, TransactionBehavior, params};
use serde_json::{Map, Value as Json};
use tracing::{Span, debug};

use super::db::{Db, DbError, path_value};
use super::deliveries::Step;
use super::left::Effect;
use super::outbox::stamp;
use crate::process::Process;
use crate::value::BatchQueue;

/// Writes down what a run does as it does it, on a thread of its own. Whatever waits goes to the disk in one transaction.
#[derive(Debug)]
pub struct Journal {
    session: u32,
    entries: Arc<BatchQueue<Entry>>,
    thread: Option<JoinHandle<()>>,
}

/// A run, as it is when it starts.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its id.
    pub run: String,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The pipeline file, absolute.
    pub file: PathBuf,
    /// SHA-256 of that file, in hexadecimal.
    pub sha256: String,
    /// The inputs; none where they hold a secret.
    pub inputs: Option<Map<String, Json>>,
    /// What expressions see of the run and the place where it runs.
    pub fixed: Json,
}

/// A stage, or one instance of it, as people call them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageName {
    /// The stage.
    pub stage: String,
    /// The instance.
    pub instance: Option<String>,
}

/// One thing that happened; for people, so it need not be on the disk before the run goes on.
#[derive(Clone, Debug)]
pub enum Note {
    /// An attempt began.
    Started {
        /// What it does, such as `upload`.
        kind: String,
        /// Counted from 1.
        attempt: u32,
    },
    /// So many bytes were handled.
    Progress(u64),
    /// Something worth knowing, or why an attempt failed that will be made again.
    Remark {
        /// Whether it will be made again.
        is_retry: bool,
        /// What it is.
        problem: Json,
    },
    /// It was not selected: what an earlier session says of its end stays.
    LeftOut {
        /// Why it was skipped.
        reason: Option<String>,
    },
    /// It ended.
    Ended {
        /// How.
        outcome: &'static str,
        /// How long it took.
        seconds: f64,
        /// What others may use, without secrets.
        outputs: Json,
        /// Why it was skipped or cancelled.
        reason: Option<String>,
        /// Why it failed.
        error: Option<Json>,
    },
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Finish {
    /// How.
    pub outcome: &'static str,
    /// What the process exits with.
    pub exit_code: u8,
    /// How long it took.
    pub seconds: f64,
    /// The stages that a selection left undone.
    pub left_out: Vec<String>,
    /// Why it was stopped or could not start.
    pub error: Option<Json>,
}

type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

enum Entry {
    Note(StageName, Note),
    Effects(Vec<Effect>, Done),
    Forget(Vec<(String, Option<usize>)>, Done),
    Delivery { uri: String, step: Step, done: Done },
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

    /// Goes on in the journal of a run that ended early, durably.
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
        let entries = Arc::<BatchQueue<Entry>>::default();
        let (writer, span, waiting) =
            (Writer { db, run, session, is_full: true }, Span::current(), Arc::clone(&entries));
        let thread = thread::spawn(move || span.in_scope(|| writer.work(&waiting)));
        Self { session, entries, thread: Some(thread) }
    }

    /// Which start of the run this is, from 1.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Writes down something for people, soon.
    pub fn note(&self, stage: StageName, note: Note) {
        self.entries.push(Entry::Note(stage, note));
    }

    /// Puts effects on the disk, all or none, and then calls `done`.
    pub fn commit(&self, effects: Vec<Effect>, done: impl FnOnce(Result<(), String>) + Send + 'static) {
        self.entries.push_urgent(Entry::Effects(effects, Box::new(done)));
    }

    /// Takes back, before it returns, that these stages, or instances of them by number, are done: they are to be done again.
    pub fn forget(&self, stages: Vec<(String, Option<usize>)>) -> Result<(), String> {
        self.wait(|done| Entry::Forget(stages, done))
    }

    /// Puts on the disk what becomes of an object on its way, before it returns.
    pub fn deliver(&self, uri: &str, step: Step) -> Result<(), String> {
        self.wait(|done| Entry::Delivery { uri: uri.to_owned(), step, done })
    }

    /// Puts the end of the run on the disk before it returns.
    pub fn finish(&self, finish: Finish) -> Result<(), String> {
        self.wait(|done| Entry::Finish(finish, done))
    }

    fn wait(&self, entry: impl FnOnce(Done) -> Entry) -> Result<(), String> {
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
    fn work(mut self, waiting: &BatchQueue<Entry>) {
        let mut unwritten = Vec::new();
        waiting.work(|entries| {
            let mut batch = std::mem::take(&mut unwritten);
            batch.extend(entries);
            let result = self.write(&batch).map_err(|error| spoken(&self.db.failed(error)));
            for entry in batch {
                match entry {
                    // Nobody waits for it, so nobody would hear that it is missing.
                    Entry::Note(_, ref note) if result.is_err() && !matches!(note, Note::Progress(_)) => {
                        unwritten.push(entry);
                    }
                    Entry::Note(..) => {}
                    Entry::Effects(_, done)
                    | Entry::Forget(_, done)
                    | Entry::Delivery { done, .. }
                    | Entry::Finish(_, done) => done(result.clone()),
                }
            }
        });
    }

    fn write(&mut self, batch: &[Entry]) -> rusqlite::Result<()> {
        let begun = Instant::now();
        // What is for people alone is on the disk with the next thing that must be.
        let must_last = batch.iter().any(|entry| !matches!(entry, Entry::Note(..)));
        if must_last != self.is_full {
            let level = if must_last { "FULL" } else { "NORMAL" };
            self.db.connection.pragma_update(None, "synchronous", level)?;
            self.is_full = must_last;
        }
        let transaction = self.db.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = Written { transaction: &transaction, run: &self.run, session: self.session };
        for entry in batch {
            match entry {
                Entry::Note(stage, note) => written.note(stage, note)?,
                Entry::Effects(effects, _) => effects.iter().try_for_each(|effect| written.effect(effect))?,
                Entry::Forget(stages, _) => stages.iter().try_for_each(|stage| written.forget(stage))?,
                Entry::Delivery { uri, step, .. } => written.delivery(uri, step)?,
                Entry::Finish(finish, _) => written.finish(finish)?,
            }
        }
        transaction.commit()?;
        debug!(entries = batch.len(), must_last, micros = begun.elapsed().as_micros(), "journal written");
        Ok(())
    }
}

struct Written<'a> {
    transaction: &'a Transaction<'a>,
    run: &'a str,
    session: u32,
}

impl Written<'_> {
    fn run(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.transaction.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn note(&self, name: &StageName, note: &Note) -> rusqlite::Result<()> {
        let (run, session, stage) = (self.run, self.session, &name.stage);
        let instance = name.instance.as_deref().unwrap_or_default();
        match note {
            Note::Started { kind, attempt } => self.run(
                "INSERT INTO stages (run, stage, instance, position, kind, session, attempt, started)
                 VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET kind = ?4, session = ?5, attempt = ?6, ended = NULL, outcome = NULL, seconds = NULL,
                 started = iif(?6 = 1, ?7, started), bytes = NULL, outputs = NULL, reason = NULL, error = NULL",
                params![run, stage, instance, kind, session, attempt, now()],
            ),
            Note::Progress(bytes) => self.run(
                "UPDATE stages SET bytes = ?4 WHERE run = ?1 AND stage = ?2 AND instance = ?3",
                params![run, stage, instance, bytes.cast_signed()],
            ),
            Note::Remark { is_retry, problem } => self.run(
                "INSERT INTO remarks (run, stage, instance, session, attempt, at, is_retry, problem)
                 VALUES (?1, ?2, ?3, ?4, coalesce((SELECT attempt FROM stages WHERE run = ?1 AND stage = ?2 AND instance = ?3), 0),
                 ?5, ?6, ?7)",
                params![run, stage, instance, session, now(), is_retry, problem.to_string()],
            ),
            Note::LeftOut { reason } => self.run(
                "INSERT INTO stages (run, stage, instance, position, session, ended, outcome, reason)
                 VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, 'skipped', ?6)
                 ON CONFLICT DO UPDATE SET session = ?4, ended = ?5, outcome = 'skipped', reason = ?6 WHERE stages.ended IS NULL",
                params![run, stage, instance, session, now(), reason],
            ),
            Note::Ended { outcome, seconds, outputs, reason, error } => self.run(
                "INSERT INTO stages (run, stage, instance, position, session, ended, outcome, seconds, outputs, reason, error)
                 VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT DO UPDATE SET session = ?4, ended = ?5, outcome = ?6, seconds = ?7, outputs = ?8, reason = ?9,
                 error = ?10",
                params![
                    run,
                    stage,
                    instance,
                    session,
                    now(),
                    outcome,
                    seconds,
                    outputs.to_string(),
                    reason,
                    error.as_ref().map(Json::to_string)
                ],
            ),
        }
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

    fn delivery(&self, uri: &str, step: &Step) -> rusqlite::Result<()> {
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
                finish.outcome,
                finish.exit_code,
                finish.seconds,
                (!finish.left_out.is_empty()).then(|| Json::from(finish.left_out.clone()).to_string()),
                finish.error.as_ref().map(Json::to_string)
            ],
        )
    }
}

/// The number of an instance, as a column holds it.
fn number(instance: Option<usize>) -> i64 {
    instance.map_or(-1, |number| i64::try_from(number).unwrap_or(i64::MAX))
}

/// An error with its cause, in a line.
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
    use super::super::{Delivery, Left};
    use super::*;
    use serde_json::json;

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
        let steps = [Step::Begun, Step::Opened(json!({ "id": "u" })), Step::Coming(json!([{ "token": "t" }]))];
        steps.into_iter().for_each(|step| journal.deliver("s3://b/k", step).unwrap());

        let left = Left::read(&db, "r").unwrap().unwrap();
        assert_eq!((left.effects, left.end), (effects, None));
        let Delivery { coming, upload, .. } = &left.deliveries[0];
        assert_eq!((coming, upload), (&Some(json!([{ "token": "t" }])), &Some(json!({ "id": "u" }))));
        journal.deliver("s3://b/k", Step::Closed).unwrap();
        let left = Left::read(&db, "r").unwrap().unwrap();
        assert_eq!((left.deliveries[0].coming.is_some(), &left.deliveries[0].upload), (true, &None));
        assert_eq!(left.start.inputs, Some(Map::new()));
        assert!(Left::read(&db, "other").unwrap().is_none());

        let name = StageName { stage: "a".to_owned(), instance: None };
        journal.note(name.clone(), Note::Started { kind: "run".to_owned(), attempt: 1 });
        journal.note(name, Note::Progress(7));
        drop(journal);
        let again = Journal::resume(&db, "r", "01").unwrap();
        assert_eq!(again.session(), 2);
        let finish = Finish { outcome: "success", exit_code: 0, seconds: 1.5, left_out: Vec::new(), error: None };
        again.finish(finish).unwrap();
        assert_eq!(Left::read(&db, "r").unwrap().unwrap().end.map(|end| end.outcome).as_deref(), Some("success"));
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
        assert_eq!(Left::read(&db, "r").unwrap().unwrap().effects.len(), 10_000);
    }
}

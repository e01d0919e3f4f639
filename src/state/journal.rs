use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::{TransactionBehavior, params};
use serde_json::{Map, Value as Json};
use tracing::{Span, debug};

use super::db::{Db, DbError, path_value};
use super::deliveries::DeliveryStep;
use super::held::Held;
use super::prior_run::{Effect, Start};
use super::rows::{Rows, now, text};
use crate::diagnostic::{Diagnostic, ExitCode};
use crate::event::{Counts, Outcome, What};
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
    /// Whether it has the inputs of the run, which a later session needs.
    is_resumable: bool,
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
    /// Whether it counts as a success.
    pub counts: Counts,
    /// Why it was stopped or could not start.
    pub error: Option<Diagnostic>,
}

impl Finish {
    /// The end that `RunEnded` tells of.
    pub fn of(what: &What) -> Option<Self> {
        let What::RunEnded { outcome, exit_code, seconds, left_out, counts, error, .. } = what else { return None };
        let (left_out, counts, error) = (left_out.clone(), counts.clone(), error.clone());
        Some(Self { outcome: *outcome, exit_code: *exit_code, seconds: *seconds, left_out, counts, error })
    }
}

type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

enum JournalEntry {
    Event { at: String, what: Box<What> },
    LeftOut { at: String, stage: String, instance: Option<String>, reason: Option<String> },
    Waiting(Option<String>),
    Ready(Option<String>, Done),
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
                "INSERT INTO runs (id, pipeline, file, sha256, inputs, fixed, session, process, since, started)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9)",
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
        Ok(Self::of(db, start.run.clone(), 1, start.inputs.is_some()))
    }

    /// Begins another session of a run, durably.
    pub(super) fn resume(db: &Path, run: &str, sha256: &str) -> Result<Self, DbError> {
        let db = Db::open(db)?;
        let Process { id, since } = Process::own();
        let update = || {
            db.connection.query_row(
                "UPDATE runs SET session = session + 1, process = ?2, since = ?3, sha256 = ?4, ended = NULL, outcome = NULL,
                 exit_code = NULL, left_out = NULL, waiting = NULL, counts = NULL, reason = NULL, error = NULL WHERE id = ?1 RETURNING session",
                params![run, id, since.cast_signed(), sha256],
                |row| row.get(0),
            )
        };
        let session = update().map_err(|error| db.failed(error))?;
        Ok(Self::of(db, run.to_owned(), session, true))
    }

    fn of(db: Db, run: String, session: u32, is_resumable: bool) -> Self {
        let entries = Arc::<BatchQueue<JournalEntry>>::default();
        let (writer, span, waiting) =
            (Writer { db, run, session, is_full: true, held: Held::default() }, Span::current(), Arc::clone(&entries));
        let thread = thread::spawn(move || span.in_scope(|| writer.work(&waiting)));
        Self { session, is_resumable, entries, thread: Some(thread) }
    }

    /// The session, counted from 1.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Whether a later session can resume the run.
    pub fn is_resumable(&self) -> bool {
        self.is_resumable
    }

    /// Writes, durably, before it returns, that all secrets of a new run are read, so that its stages may begin. Only now is it known
    /// whether its inputs hold a secret; `None` if they do.
    pub fn ready(&mut self, inputs: Option<&Map<String, Json>>) -> Result<(), String> {
        let kept = inputs.map(text);
        self.wait(|done| JournalEntry::Ready(kept, done))?;
        self.is_resumable = inputs.is_some();
        Ok(())
    }

    /// Writes an event of a stage, soon: a crash may lose it, since it is only for display. Other events are not kept. `at` is
    /// when it happened: RFC 3339, UTC.
    pub fn log(&self, at: &str, what: What) {
        self.entries.push(JournalEntry::Event { at: at.to_owned(), what: Box::new(what) });
    }

    /// Writes that a stage was not selected, soon. The end that an earlier session wrote stays.
    pub fn log_left_out(&self, at: &str, stage: String, instance: Option<String>, reason: Option<String>) {
        self.entries.push(JournalEntry::LeftOut { at: at.to_owned(), stage, instance, reason });
    }

    /// Writes, soon, which group the run waits for; `None` if it waits no longer.
    pub fn wait_for(&self, group: Option<&str>) {
        self.entries.push(JournalEntry::Waiting(group.map(str::to_owned)));
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
    held: Held,
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
                    JournalEntry::Event { what, .. } if matches!(*what, What::StageProgress { .. }) => {}
                    // Nobody waits for these, so nobody would learn that they are missing: try again.
                    JournalEntry::Event { .. } | JournalEntry::LeftOut { .. } | JournalEntry::Waiting(_)
                        if result.is_err() =>
                    {
                        unwritten.push(entry);
                    }
                    JournalEntry::Event { .. } | JournalEntry::LeftOut { .. } | JournalEntry::Waiting(_) => {}
                    JournalEntry::Ready(_, done)
                    | JournalEntry::Effects(_, done)
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
        let must_last = batch.iter().any(|entry| {
            !matches!(entry, JournalEntry::Event { .. } | JournalEntry::LeftOut { .. } | JournalEntry::Waiting(_))
        });
        if must_last != self.is_full {
            let level = if must_last { "FULL" } else { "NORMAL" };
            self.db.connection.pragma_update(None, "synchronous", level)?;
            self.is_full = must_last;
        }
        let transaction = self.db.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // What is held changes only with what is written.
        let mut held = self.held.clone();
        let rows = Rows { transaction: &transaction, run: &self.run, session: self.session };
        for entry in batch {
            match entry {
                JournalEntry::Event { at, what } => held.event(&rows, at, what)?,
                JournalEntry::LeftOut { at, stage, instance, reason } => {
                    rows.left_out(at, stage, instance.as_deref(), reason.as_deref())?;
                }
                JournalEntry::Waiting(group) => rows.waiting(group.as_deref())?,
                JournalEntry::Ready(inputs, _) => rows.ready(inputs.as_deref())?,
                JournalEntry::Effects(effects, _) => effects.iter().try_for_each(|effect| rows.effect(effect))?,
                JournalEntry::Forget(stages, _) => {
                    stages
                        .iter()
                        .try_for_each(|stage| held.release(&rows, &stage.0).and_then(|()| rows.forget(stage)))?;
                }
                JournalEntry::Delivery { uri, step, .. } => rows.delivery(uri, step)?,
                JournalEntry::Finish(finish, _) => rows.finish(finish)?,
            }
        }
        transaction.commit()?;
        self.held = held;
        debug!(entries = batch.len(), must_last, micros = begun.elapsed().as_micros(), "journal written");
        Ok(())
    }
}

/// An error with its cause on one line.
fn spoken(error: &DbError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::prior_run::{Delivery, PriorRun};
    use super::*;
    use serde_json::json;

    const AT: &str = "2026-11-24T03:04:05.000Z";

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
        let mut journal = Journal::begin(&db, &start("r")).unwrap();
        journal.ready(Some(&Map::new())).unwrap();
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
        let (first, kind) = (stage.clone(), "run".to_owned());
        journal.log(AT, What::StageStarted { stage: first, instance: instance.clone(), kind, attempt: 1 });
        journal.log(AT, What::StageProgress { stage, instance, bytes: 7 });
        drop(journal);
        let again = Journal::resume(&db, "r", "01").unwrap();
        assert_eq!(again.session(), 2);
        let finish = Finish {
            outcome: Outcome::Success,
            exit_code: ExitCode::Success,
            seconds: 1.5,
            left_out: Vec::new(),
            counts: Counts::default(),
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

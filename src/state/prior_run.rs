use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value as Json};

use super::db::{Db, DbError, path_of};
use super::history::{FAILED, GOOD, outcome};
use crate::event::Outcome;

/// What earlier sessions of a run did, from its journal.
#[derive(Clone, Debug)]
pub struct PriorRun {
    /// The start of the run.
    pub start: Start,
    /// The end of the run, if it has one.
    pub end: Option<RunEnd>,
    /// The number of sessions.
    pub sessions: u32,
    /// The stages that are proven done.
    pub effects: Vec<Effect>,
    /// When the last instance of each of those stages was done: RFC 3339, UTC.
    pub done_at: BTreeMap<String, String>,
    /// The deliveries that began.
    pub deliveries: Vec<Delivery>,
}

/// The start of a run. Its id, inputs and environment stay the same when it is resumed, since object keys are made of them.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its id.
    pub run: String,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The absolute path of the pipeline file.
    pub file: PathBuf,
    /// SHA-256 of that file, in hexadecimal.
    pub sha256: String,
    /// The inputs; `None` if they hold a secret.
    pub inputs: Option<Map<String, Json>>,
    /// The contexts that expressions see: run, host, git, CI.
    pub fixed: Json,
}

/// The proof that a stage is done. A resumed run repeats the stage only if its key changed or its result is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The stage.
    pub stage: String,
    /// The number of its instance; `None` without a matrix.
    pub instance: Option<usize>,
    /// A digest of everything that the stage depends on.
    pub key: String,
    /// The outputs.
    pub outputs: Json,
    /// Its artifact, if that is in the work folder: file, digest and size.
    pub artifact: Option<Json>,
    /// Whether it ended with a warning.
    pub warned: bool,
}

/// The last run of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// Its id.
    pub run: String,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The pipeline file.
    pub file: PathBuf,
    /// The end of the run, if it has one.
    pub end: Option<RunEnd>,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// The outcome.
    pub outcome: Outcome,
    /// Whether it did everything: a success or warning with no stage left out.
    pub is_good: bool,
    /// Whether a stage failed, also under `continue-on-error`.
    pub has_failed: bool,
}

impl RunEnd {
    /// From three columns: the outcome, [`GOOD`] and [`FAILED`].
    fn of(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Self>> {
        let outcome = outcome(row.get(first)?);
        let (is_good, has_failed) = (row.get(first + 1)?, row.get(first + 2)?);
        Ok(outcome.map(|outcome| Self { outcome, is_good, has_failed }))
    }
}

/// A delivery that a run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The URI of the object.
    pub uri: String,
    /// When it began: RFC 3339, UTC. Parts of the object may be in the store since then.
    pub began: String,
    /// What identifies the object, if it was about to appear.
    pub coming: Option<Json>,
    /// What identified the object, if it was found lost or damaged.
    pub disproved: Option<Json>,
    /// A multipart upload that can be resumed.
    pub upload: Option<Json>,
}

impl PriorRun {
    /// Reads a run; `None` if its id is unknown.
    pub(super) fn read(db: &Path, run: &str) -> Result<Option<Self>, DbError> {
        let Some(db) = Db::peek(db)? else { return Ok(None) };
        read(&db.connection, run).map_err(|error| db.failed(error))
    }
}

/// The last run of each pipeline file that did something.
pub(super) fn last_runs(db: &Path) -> Result<Vec<LastRun>, DbError> {
    let Some(db) = Db::peek(db)? else { return Ok(Vec::new()) };
    let read = || {
        let mut statement = db.connection.prepare(&format!(
            "SELECT id, pipeline, file, outcome, {GOOD}, {FAILED} FROM runs WHERE id IN
             (SELECT max(id) FROM runs WHERE session > 1
              OR (session = 1 AND (outcome IS NULL OR outcome NOT IN ('skipped', 'blocked')))
              GROUP BY pipeline, file) ORDER BY id DESC",
        ))?;
        let last = |row: &Row<'_>| {
            let (run, pipeline) = (row.get(0)?, row.get(1)?);
            Ok(LastRun { run, pipeline, file: path_of(row.get_ref(2)?), end: RunEnd::of(row, 3)? })
        };
        statement.query_map([], last)?.collect::<rusqlite::Result<_>>()
    };
    read().map_err(|error| db.failed(error))
}

fn read(connection: &Connection, run: &str) -> rusqlite::Result<Option<PriorRun>> {
    let start = |row: &Row<'_>| {
        let inputs: Option<String> = row.get(3)?;
        let start = Start {
            run: run.to_owned(),
            pipeline: row.get(0)?,
            file: path_of(row.get_ref(1)?),
            sha256: row.get(2)?,
            inputs: inputs.and_then(|text| serde_json::from_str(&text).ok()),
            fixed: json(row.get(4)?),
        };
        Ok((start, row.get(5)?, RunEnd::of(row, 6)?))
    };
    let sql = format!(
        "SELECT pipeline, file, sha256, inputs, fixed, session, outcome, {GOOD}, {FAILED} FROM runs WHERE id = ?1"
    );
    let Some((start, sessions, end)) = connection.query_row(&sql, [run], start).optional()? else { return Ok(None) };
    let effect = |row: &Row<'_>| {
        Ok(Effect {
            stage: row.get(0)?,
            instance: usize::try_from(row.get::<_, i64>(1)?).ok(),
            key: row.get(2)?,
            outputs: json(row.get(3)?),
            artifact: row.get::<_, Option<String>>(4)?.map(json),
            warned: row.get(5)?,
        })
    };
    let mut effects =
        connection.prepare("SELECT stage, instance, key, outputs, artifact, warned FROM effects WHERE run = ?1")?;
    // An earlier release did not write when.
    let mut done_at = connection.prepare(
        "SELECT stage, max(coalesce(at, started)) FROM effects JOIN runs ON runs.id = run WHERE run = ?1 GROUP BY stage",
    )?;
    let delivery = |row: &Row<'_>| {
        let optional = |column| row.get::<_, Option<String>>(column).map(|text| text.map(json));
        Ok(Delivery {
            uri: row.get(0)?,
            began: row.get(1)?,
            coming: optional(2)?,
            upload: optional(3)?,
            disproved: optional(4)?,
        })
    };
    let mut deliveries =
        connection.prepare("SELECT uri, began, coming, upload, disproved FROM deliveries WHERE run = ?1")?;
    Ok(Some(PriorRun {
        start,
        end,
        sessions,
        effects: effects.query_map([run], effect)?.collect::<rusqlite::Result<_>>()?,
        done_at: done_at.query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?,
        deliveries: deliveries.query_map([run], delivery)?.collect::<rusqlite::Result<_>>()?,
    }))
}

/// The JSON of a column; `null` if it is not JSON.
pub(super) fn json(text: String) -> Json {
    serde_json::from_str(&text).unwrap_or_default()
}

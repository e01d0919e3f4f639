use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value as Json;

use super::db::{Db, DbError, path_of};
use super::history::{FAILED, GOOD, outcome};
use super::journal::Start;
use crate::event::Outcome;

/// What the journal of a run that ended early says.
#[derive(Clone, Debug)]
pub struct Left {
    /// How it started.
    pub start: Start,
    /// How it ended, if it did.
    pub end: Option<RunEnd>,
    /// How often it was started or resumed.
    pub sessions: u32,
    /// What is proven done.
    pub effects: Vec<Effect>,
    /// Objects on their way.
    pub deliveries: Vec<Delivery>,
}

/// What is proven done: a resumed run does not do it again while nothing that it depends on changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The stage.
    pub stage: String,
    /// The number of its instance.
    pub instance: Option<usize>,
    /// Names all that it depends on.
    pub key: String,
    /// What it gave.
    pub outputs: Json,
    /// Its artifact, where that lies in the work folder.
    pub artifact: Option<Json>,
    /// Whether there was something worth knowing.
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
    /// How it ended, if it did.
    pub end: Option<RunEnd>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// The outcome.
    pub outcome: Outcome,
    /// All that it should do was done.
    pub is_good: bool,
    /// A stage failed, also where that was forgiven.
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

/// An object on its way when a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which.
    pub uri: String,
    /// Since when something of it may be left: RFC 3339, UTC.
    pub began: String,
    /// What tells it apart, if it was about to appear.
    pub coming: Option<Json>,
    /// An upload of it that can go on.
    pub upload: Option<Json>,
}

impl Left {
    /// What the journal says of a run; none where there is none of that id.
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
             (SELECT max(id) FROM runs WHERE session > 1 OR outcome IS NULL OR outcome NOT IN ('skipped', 'blocked')
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

fn read(connection: &Connection, run: &str) -> rusqlite::Result<Option<Left>> {
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
    let delivery = |row: &Row<'_>| {
        let optional = |column| row.get::<_, Option<String>>(column).map(|text| text.map(json));
        Ok(Delivery { uri: row.get(0)?, began: row.get(1)?, coming: optional(2)?, upload: optional(3)? })
    };
    let mut deliveries = connection.prepare("SELECT uri, began, coming, upload FROM deliveries WHERE run = ?1")?;
    Ok(Some(Left {
        start,
        end,
        sessions,
        effects: effects.query_map([run], effect)?.collect::<rusqlite::Result<_>>()?,
        deliveries: deliveries.query_map([run], delivery)?.collect::<rusqlite::Result<_>>()?,
    }))
}

/// What a column holds; `null` where somebody else wrote it.
pub(super) fn json(text: String) -> Json {
    serde_json::from_str(&text).unwrap_or_default()
}

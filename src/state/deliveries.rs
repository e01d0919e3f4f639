use std::path::Path;

use rusqlite::{Row, params};
use serde_json::Value as Json;

use super::db::{Db, DbError, path_value};
use super::dir::{DATABASE, StateDir};
use super::history::is_held;
use super::left::json;

/// What becomes of an object on its way.
#[derive(Clone, Debug)]
pub enum Step {
    /// Something of it may be left from now on.
    Begun,
    /// An upload of it is open that can go on: which, and where.
    Opened(Json),
    /// No such upload is open any more.
    Closed,
    /// It is about to appear: what tells it apart, and earlier ones of the run that may be there in its place.
    Coming(Json),
}

impl Step {
    /// The column that changes, and what stands in it from then on.
    pub(super) fn column(&self, now: &str) -> (&'static str, Option<String>) {
        match self {
            Self::Begun => ("began", Some(now.to_owned())),
            Self::Opened(upload) => ("upload", Some(upload.to_string())),
            Self::Closed => ("upload", None),
            Self::Coming(coming) => ("coming", Some(coming.to_string())),
        }
    }
}

/// An upload that a run left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadLeft {
    /// The run.
    pub run: String,
    /// Whether a process is at work on it.
    pub is_at_work: bool,
    /// The object.
    pub uri: String,
    /// Which upload, and where.
    pub upload: Json,
}

impl StateDir {
    /// The uploads that runs of a file left open, or have open now.
    pub fn uploads_left(&self, pipeline: &str, file: &Path) -> Result<Vec<UploadLeft>, DbError> {
        let Some(db) = Db::peek(&self.path().join(DATABASE))? else { return Ok(Vec::new()) };
        let sql = "SELECT run, uri, upload FROM deliveries JOIN runs ON runs.id = run
                   WHERE upload IS NOT NULL AND pipeline = ?1 AND file = ?2 ORDER BY run, uri";
        let left = |row: &Row<'_>| {
            let run: String = row.get(0)?;
            let is_at_work = is_held(&self.path().join("work").join(&run));
            Ok(UploadLeft { run, is_at_work, uri: row.get(1)?, upload: json(row.get(2)?) })
        };
        let read = || -> rusqlite::Result<_> {
            db.connection.prepare(sql)?.query_map(params![pipeline, path_value(file)], left)?.collect()
        };
        read().map_err(|error| db.failed(error))
    }

    /// An upload is not open any more, or nobody can do anything about it.
    pub fn forget_upload(&self, left: &UploadLeft) -> Result<(), DbError> {
        let db = Db::open(&self.path().join(DATABASE))?;
        let sql = "UPDATE deliveries SET upload = NULL WHERE run = ?1 AND uri = ?2";
        db.connection.execute(sql, [&left.run, &left.uri]).map(drop).map_err(|error| db.failed(error))
    }
}

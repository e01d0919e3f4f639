use std::path::{Path, PathBuf};

use rusqlite::{Row, params};
use serde_json::Value as Json;

use super::db::{Db, DbError, path_of, path_value};
use super::dir::StateDir;
use super::history::is_held;
use super::prior_run::json;

/// A step of the delivery of one object, as the journal records it.
#[derive(Clone, Debug)]
pub enum DeliveryStep {
    /// From now on, a crash may leave parts of the object in the store.
    Begun,
    /// A multipart upload is open that can be resumed: its id and place.
    Opened(Json),
    /// That upload is no longer open.
    Closed,
    /// The object was found lost or damaged: what identifies it is no longer what is about to appear.
    Disproved,
    /// The object is about to appear: what identifies it, and this run's earlier objects of the same key.
    Coming(Json),
}

impl DeliveryStep {
    /// The assignment of columns, and its value.
    pub(super) fn assignment(&self, now: &str) -> (&'static str, Option<String>) {
        match self {
            Self::Begun => ("began = ?3", Some(now.to_owned())),
            Self::Opened(upload) => ("upload = ?3", Some(upload.to_string())),
            Self::Closed => ("upload = ?3", None),
            Self::Disproved => ("disproved = coming, coming = ?3", None),
            Self::Coming(coming) => ("coming = ?3", Some(coming.to_string())),
        }
    }
}

/// A multipart upload that a run opened and did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The run.
    pub run: String,
    /// Whether a process still works on the run.
    pub is_at_work: bool,
    /// The URI of the object.
    pub uri: String,
    /// The upload: its id and place.
    pub upload: Json,
}

/// An open upload, with the pipeline and the file of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUploadOf {
    /// The upload.
    pub upload: UnfinishedUpload,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The pipeline file.
    pub file: PathBuf,
}

impl StateDir {
    /// All open uploads, running runs included.
    pub fn open_uploads(&self) -> Result<Vec<OpenUploadOf>, DbError> {
        let Some(db) = Db::peek(&self.database())? else { return Ok(Vec::new()) };
        let sql = "SELECT run, uri, upload, pipeline, file FROM deliveries JOIN runs ON runs.id = run
                   WHERE upload IS NOT NULL ORDER BY run, uri";
        let open = |row: &Row<'_>| {
            let run: String = row.get(0)?;
            let is_at_work = is_held(&self.path().join("work").join(&run));
            let upload = UnfinishedUpload { run, is_at_work, uri: row.get(1)?, upload: json(row.get(2)?) };
            Ok(OpenUploadOf { upload, pipeline: row.get(3)?, file: path_of(row.get_ref(4)?) })
        };
        let read = || -> rusqlite::Result<_> { db.connection.prepare(sql)?.query_map([], open)?.collect() };
        read().map_err(|error| db.failed(error))
    }

    /// The unfinished uploads of all runs of a file, running ones included.
    pub fn unfinished_uploads(&self, pipeline: &str, file: &Path) -> Result<Vec<UnfinishedUpload>, DbError> {
        let Some(db) = Db::peek(&self.database())? else { return Ok(Vec::new()) };
        let sql = "SELECT run, uri, upload FROM deliveries JOIN runs ON runs.id = run
                   WHERE upload IS NOT NULL AND pipeline = ?1 AND file = ?2 ORDER BY run, uri";
        let left = |row: &Row<'_>| {
            let run: String = row.get(0)?;
            let is_at_work = is_held(&self.path().join("work").join(&run));
            Ok(UnfinishedUpload { run, is_at_work, uri: row.get(1)?, upload: json(row.get(2)?) })
        };
        let read = || -> rusqlite::Result<_> {
            db.connection.prepare(sql)?.query_map(params![pipeline, path_value(file)], left)?.collect()
        };
        read().map_err(|error| db.failed(error))
    }

    /// Forgets an upload that was aborted or can no longer be aborted.
    pub fn forget_upload(&self, left: &UnfinishedUpload) -> Result<(), DbError> {
        let db = Db::open(&self.database())?;
        let sql = "UPDATE deliveries SET upload = NULL WHERE run = ?1 AND uri = ?2";
        db.connection.execute(sql, [&left.run, &left.uri]).map(drop).map_err(|error| db.failed(error))
    }
}

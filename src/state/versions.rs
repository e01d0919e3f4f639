use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};
use sha2::{Digest as _, Sha256};

use super::db::{Db, DbError, path_of, path_value};
use super::outbox::stamp;
use crate::value::hex;

/// The versions of pipeline files. A text that several versions share is stored once.
#[derive(Debug)]
pub struct Versions {
    db: Db,
}

/// A file and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The absolute path.
    pub path: PathBuf,
    /// The bytes.
    pub content: Vec<u8>,
}

/// One version of a pipeline file. Times are RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counted from 1 for each path.
    pub number: u32,
    /// The name of the pipeline.
    pub pipeline: String,
    /// SHA-256 of the pipeline file, in hexadecimal.
    pub sha256: String,
    /// The files that it extends, the nearest first: path and SHA-256.
    pub bases: Vec<(PathBuf, String)>,
    /// When it was first kept.
    pub kept: String,
    /// When a run first started with it; `None` if it was kept only because a restore replaced it.
    pub first_used: Option<String>,
    /// When a run last started with it.
    pub last_used: Option<String>,
}

impl Versions {
    pub(super) fn open(db: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Db::open(db)? })
    }

    pub(super) fn peek(db: &Path) -> Result<Option<Self>, DbError> {
        Ok(Db::peek(db)?.map(|db| Self { db }))
    }

    /// Keeps the texts of a pipeline, durably: its own file, then the files that it extends. Returns the number of the version,
    /// which is the old one for known texts. `used` says that a run starts with them.
    pub fn keep(&mut self, pipeline: &str, own: &Text, others: &[Text], used: bool) -> Result<u32, DbError> {
        let keep = |db: &mut Db| {
            // Immediate: two runs that both read the highest number would give the next one twice.
            let transaction = db.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let number = insert(&transaction, pipeline, own, others, used)?;
            transaction.commit()?;
            Ok(number)
        };
        keep(&mut self.db).map_err(|error| self.db.failed(error))
    }

    /// The versions of a file, oldest first.
    pub fn list(&self, path: &Path) -> Result<Vec<Version>, DbError> {
        let read = || {
            let mut statement = self.db.connection.prepare(
                "SELECT number, pipeline, sha256, kept, first_used, last_used
                 FROM versions JOIN version_files ON version = id AND position = 0
                 WHERE versions.path = ?1 ORDER BY number",
            )?;
            let mut versions =
                statement.query_map([path_value(path)], version)?.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut statement = self.db.connection.prepare(
                "SELECT version_files.path, sha256 FROM versions JOIN version_files ON version = id
                 WHERE versions.path = ?1 AND number = ?2 AND position > 0 ORDER BY position",
            )?;
            for version in &mut versions {
                let base = |row: &Row<'_>| Ok((path_of(row.get_ref(0)?), row.get(1)?));
                let bases = statement.query_map(params![path_value(path), version.number], base)?;
                version.bases = bases.collect::<rusqlite::Result<_>>()?;
            }
            Ok(versions)
        };
        read().map_err(|error| self.db.failed(error))
    }

    /// The texts of a version, the pipeline file first; empty if there is no such version.
    pub fn texts(&self, path: &Path, number: u32) -> Result<Vec<Text>, DbError> {
        let read = || {
            let mut statement = self.db.connection.prepare(
                "SELECT version_files.path, content
                 FROM versions JOIN version_files ON version = id JOIN texts USING (sha256)
                 WHERE versions.path = ?1 AND number = ?2 ORDER BY position",
            )?;
            let text = |row: &Row<'_>| Ok(Text { path: path_of(row.get_ref(0)?), content: row.get(1)? });
            statement.query_map(params![path_value(path), number], text)?.collect::<rusqlite::Result<Vec<Text>>>()
        };
        read().map_err(|error| self.db.failed(error))
    }
}

fn insert(
    transaction: &Transaction<'_>,
    pipeline: &str,
    own: &Text,
    others: &[Text],
    used: bool,
) -> rusqlite::Result<u32> {
    let files: Vec<(&Text, String)> =
        std::iter::once(own).chain(others).map(|text| (text, hex(&Sha256::digest(&text.content)))).collect();
    let (path, digest, now) = (path_value(&own.path), digest(&files), stamp(Duration::ZERO, false));
    let used = used.then_some(now.as_str());
    let known = transaction
        .query_row(
            "UPDATE versions SET first_used = coalesce(first_used, ?3), last_used = coalesce(?3, last_used),
             pipeline = CASE WHEN ?3 IS NULL THEN pipeline ELSE ?4 END
             WHERE path = ?1 AND digest = ?2 RETURNING number",
            params![path, digest, used, pipeline],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(number) = known {
        return Ok(number);
    }
    let (id, number) = transaction.query_row(
        "INSERT INTO versions (path, number, digest, pipeline, kept, first_used, last_used)
         SELECT ?1, 1 + coalesce(max(number), 0), ?2, ?3, ?4, ?5, ?5 FROM versions WHERE path = ?1
         RETURNING id, number",
        params![path, digest, pipeline, now, used],
        |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)),
    )?;
    for (position, (text, sha256)) in files.iter().enumerate() {
        transaction.execute("INSERT OR IGNORE INTO texts VALUES (?1, ?2)", params![sha256, text.content])?;
        let path = path_value(&text.path);
        transaction
            .execute("INSERT INTO version_files VALUES (?1, ?2, ?3, ?4)", params![id, position, path, sha256])?;
    }
    Ok(number)
}

/// Identifies a set of texts by the paths and digests of all their files.
fn digest(files: &[(&Text, String)]) -> String {
    let mut all = Sha256::new();
    for (text, sha256) in files {
        // Unambiguous: a path holds no NUL, and every digest has the same length.
        all.update(text.path.as_os_str().as_encoded_bytes());
        all.update([0]);
        all.update(sha256);
    }
    hex(&all.finalize())
}

fn version(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        number: row.get(0)?,
        pipeline: row.get(1)?,
        sha256: row.get(2)?,
        bases: Vec::new(),
        kept: row.get(3)?,
        first_used: row.get(4)?,
        last_used: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, content: &str) -> Text {
        Text { path: PathBuf::from(path), content: content.as_bytes().to_vec() }
    }

    #[test]
    fn each_text_has_one_number_for_each_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        assert!(Versions::peek(&path).unwrap().is_none());
        let mut versions = Versions::open(&path).unwrap();
        let mut keep = |path: &str, content: &str, used| versions.keep("p", &text(path, content), &[], used).unwrap();
        assert_eq!([keep("/a", "1", true), keep("/a", "2", false), keep("/b", "2", true)], [1, 2, 1]);
        assert_eq!([keep("/a", "1", true), keep("/a", "3", true), keep("/a", "2", false)], [1, 3, 2]);
        let listed = versions.list(Path::new("/a")).unwrap();
        let used: Vec<(u32, bool)> =
            listed.iter().map(|version| (version.number, version.first_used.is_some())).collect();
        assert_eq!(used, [(1, true), (2, false), (3, true)]);
        assert_eq!(listed[0].sha256, hex(&Sha256::digest("1")));
        assert!(listed[0].first_used <= listed[0].last_used);
        // A run makes a used one of it.
        versions.keep("renamed", &text("/a", "2"), &[], true).unwrap();
        let listed = versions.list(Path::new("/a")).unwrap();
        assert!(listed[1].first_used.is_some() && listed[1].pipeline == "renamed", "{listed:?}");
        let reader = Versions::peek(&path).unwrap().unwrap();
        assert_eq!(reader.texts(Path::new("/a"), 3).unwrap(), [text("/a", "3")]);
        assert_eq!(reader.texts(Path::new("/a"), 4).unwrap(), []);
    }

    #[test]
    fn files_that_are_taken_in_belong_to_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let mut versions = Versions::open(&folder.path().join("state.db")).unwrap();
        let own = text("/a", "extends: base");
        let mut keep = |others: &[Text]| versions.keep("p", &own, others, true).unwrap();
        assert_eq!([keep(&[text("/base", "1")]), keep(&[text("/base", "2")]), keep(&[text("/base", "1")])], [1, 2, 1]);
        assert_eq!(versions.texts(Path::new("/a"), 2).unwrap(), [own, text("/base", "2")]);
    }

    #[test]
    fn writers_at_once_give_each_text_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let mut versions = Versions::open(path).unwrap();
                    for content in 0..10 {
                        // Half of the texts come from two writers.
                        let content = format!("{} {content}", writer / 2);
                        versions.keep("p", &text("/a", &content), &[], true).unwrap();
                    }
                });
            }
        });
        let numbers: Vec<u32> =
            Versions::open(&path).unwrap().list(Path::new("/a")).unwrap().iter().map(|v| v.number).collect();
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    }
}

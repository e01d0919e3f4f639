use std::path::Path;

use rusqlite::{Row, params};

use super::db::{Db, DbError};
use super::history::{exit_code, outcome};
use crate::diagnostic::ExitCode;
use crate::event::Outcome;
use crate::process::Process;

/// A run and its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRun {
    /// Its id.
    pub run: String,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The process that works on it or last did.
    pub process: Process,
    /// The outcome, once it ended.
    pub outcome: Option<Outcome>,
    /// The exit code of its process, once it ended.
    pub exit_code: Option<ExitCode>,
}

/// The run that a word names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundRun {
    /// One run.
    One(KnownRun),
    /// No known run.
    None,
    /// Several runs: the newest, newest first.
    Several(Vec<String>),
    /// The word is too short.
    TooShort,
}

/// The shortest beginning or end of an id that names a run.
const SHORTEST: usize = 4;
/// The number of runs that are named if there are several.
const NAMED: usize = 5;

/// Finds a run by its id, or by a beginning or end that no other id has.
pub(super) fn find_run(db: &Path, word: &str) -> Result<FoundRun, DbError> {
    let word = word.trim().to_ascii_uppercase();
    if word.len() < SHORTEST {
        return Ok(FoundRun::TooShort);
    }
    let Some(db) = Db::peek(db)? else { return Ok(FoundRun::None) };
    let sql = "SELECT id, pipeline, process, since, outcome, exit_code FROM runs
               WHERE id = ?1 OR substr(id, 1, length(?1)) = ?1 OR substr(id, -length(?1)) = ?1
               ORDER BY id = ?1 DESC, id DESC LIMIT ?2";
    let known = |row: &Row<'_>| {
        let process = Process { id: row.get(2)?, since: row.get::<_, i64>(3)?.cast_unsigned() };
        Ok(KnownRun {
            run: row.get(0)?,
            pipeline: row.get(1)?,
            process,
            outcome: outcome(row.get(4)?),
            exit_code: exit_code(row.get(5)?),
        })
    };
    let read = || -> rusqlite::Result<Vec<KnownRun>> {
        db.connection.prepare(sql)?.query_map(params![word, NAMED], known)?.collect()
    };
    let mut found = read().map_err(|error| db.failed(error))?;
    Ok(match found.len() {
        0 => FoundRun::None,
        many if many == 1 || found[0].run == word => FoundRun::One(found.swap_remove(0)),
        _ => FoundRun::Several(found.into_iter().map(|found| found.run).collect()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Counts;
    use crate::state::{Finish, Journal, Start};

    fn run(db: &Path, id: &str) -> Journal {
        let (run, pipeline) = (id.to_owned(), "test".to_owned());
        let start =
            Start { run, pipeline, file: "/p.yaml".into(), sha256: String::new(), inputs: None, fixed: json!({}) };
        Journal::begin(db, &start).unwrap()
    }

    #[test]
    fn a_word_means_one_run_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("state.db");
        assert_eq!(find_run(&db, "01AAAA").unwrap(), FoundRun::None);
        let first = run(&db, "01AAAAXXBBBB");
        let _second = run(&db, "01AAAAYYCCCC");
        let _whole = run(&db, "CCCC");
        let one = |word: &str| match find_run(&db, word).unwrap() {
            FoundRun::One(known) => known.run,
            other => format!("{other:?}"),
        };
        assert_eq!(one("01AAAAXX"), "01AAAAXXBBBB");
        assert_eq!(one(" bbbb "), "01AAAAXXBBBB");
        assert_eq!(one("01AAAAYYCCCC"), "01AAAAYYCCCC");
        assert_eq!(one("CCCC"), "CCCC", "a whole id means no other");
        assert_eq!(one("AAAA"), "None", "what stands in the middle means nothing");
        assert_eq!(one("%%%%"), "None");
        assert_eq!(find_run(&db, "01A").unwrap(), FoundRun::TooShort);
        let several = vec!["01AAAAYYCCCC".to_owned(), "01AAAAXXBBBB".to_owned()];
        assert_eq!(find_run(&db, "01AAAA").unwrap(), FoundRun::Several(several));

        let FoundRun::One(known) = find_run(&db, "BBBB").unwrap() else { panic!("there is one") };
        assert!(known.process.is_alive() && known.outcome.is_none(), "{known:?}");
        first
            .finish(Finish {
                outcome: Outcome::Success,
                exit_code: ExitCode::Warnings,
                seconds: 1.0,
                left_out: Vec::new(),
                counts: Counts::default(),
                error: None,
            })
            .unwrap();
        let FoundRun::One(known) = find_run(&db, "BBBB").unwrap() else { panic!("there is one") };
        assert_eq!((known.outcome, known.exit_code), (Some(Outcome::Success), Some(ExitCode::Warnings)));
    }
}

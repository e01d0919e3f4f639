//! `state.db` of each earlier version, created by the statements of its time and filled with rows. `1.sql` to `4.sql`
//! contain what each version added. They were written when the version was new and never change with the program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::Value as Json;

use crate::support::writes::{Case, FAULTS, Fault, most};
use crate::support::{Tl, collected, ended};

const VERSIONS: [&str; 4] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];
const RUN: &str = "01KB0000000000000000000001";

/// A state folder with a database of this version. For version 0, the database is an empty file.
fn of_version(version: usize) -> Tl {
    let tl = Tl::new();
    fs::create_dir(tl.state()).unwrap();
    fs::set_permissions(tl.state(), PermissionsExt::from_mode(0o700)).unwrap();
    let connection = open(&tl);
    if version > 0 {
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    }
    VERSIONS[..version].iter().for_each(|sql| connection.execute_batch(sql).unwrap());
    drop(connection);
    fs::set_permissions(tl.state().join("state.db"), PermissionsExt::from_mode(0o600)).unwrap();
    // A state folder with messages also has this folder.
    fs::create_dir(tl.state().join("senders")).unwrap();
    tl
}

fn open(tl: &Tl) -> Connection {
    Connection::open(tl.state().join("state.db")).unwrap()
}

fn version(connection: &Connection) -> usize {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// The version that this release creates.
fn newest() -> usize {
    let tl = of_version(0);
    tl.ok(&["history"]);
    version(&open(&tl))
}

type Rows = BTreeMap<String, Vec<Vec<(String, Value)>>>;

/// All rows of all tables, with their column names.
fn rows(connection: &Connection) -> Rows {
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let of_table = |table: String| {
        let mut all = connection
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3"))
            .unwrap_or_else(|_| connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap());
        let names: Vec<String> = all.column_names().iter().map(|&name| name.to_owned()).collect();
        let row = |row: &rusqlite::Row<'_>| {
            names.iter().enumerate().map(|(at, name)| Ok((name.clone(), row.get(at)?))).collect()
        };
        let rows = all.query_map([], row).unwrap().collect::<rusqlite::Result<_>>().unwrap();
        (table, rows)
    };
    tables.into_iter().map(of_table).collect()
}

/// Checks that every old row is unchanged, and that columns added to it are empty.
fn kept(before: &Rows, after: &Rows) {
    for (table, rows) in before {
        let after = &after[table];
        assert_eq!(rows.len(), after.len(), "{table}");
        for (before, after) in rows.iter().zip(after) {
            assert_eq!(before[..], after[..before.len()], "{table}");
            assert!(after[before.len()..].iter().all(|(_, value)| *value == Value::Null), "{table}: {after:?}");
        }
    }
}

fn is_whole(connection: &Connection) -> bool {
    let said: String = connection.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    let lost: i64 =
        connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    said == "ok" && lost == 0
}

fn json(tl: &Tl, arguments: &[&str]) -> Json {
    serde_json::from_str(&tl.ok(arguments).stdout).unwrap()
}

/// What read-only commands show of a database of this version.
fn is_shown(tl: &Tl, version: usize) {
    let runs = json(tl, &["history", "--json"]);
    let letters = json(tl, &["notify", "list", "--json"]).to_string();
    let texts = json(tl, &["versions", "/srv/orders.yaml", "--json"]).to_string();
    let count = runs["runs"].as_array().unwrap().len();
    assert_eq!(count, [0, 0, 0, 2, 3][version], "{runs:#}");
    assert_eq!(letters.matches("01KB000").count() >= 2, version >= 1, "{letters}");
    assert_eq!(texts.contains("2026-01-03"), version >= 2, "{texts}");
    if version >= 3 {
        let shown = json(tl, &["show", RUN, "--json"]);
        assert_eq!(shown["stages"].as_array().unwrap().len(), 2, "{shown:#}");
        assert_eq!(shown["remarks"].as_array().unwrap().len(), 1, "{shown:#}");
        let left = timelocker::state::StateDir::locate(Some(&tl.state())).unwrap().prior_run(RUN).unwrap().unwrap();
        assert_eq!((left.sessions, left.effects.len(), left.deliveries.len()), (2, 1, 1));
    }
}

/// Checks that the database of an earlier version stands beside the new one, as it was, for its owner alone.
fn backed_up(tl: &Tl, earlier: usize, before: &Rows) {
    let names: Vec<String> = fs::read_dir(tl.state())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("state.db.v"))
        .collect();
    if earlier == 0 {
        return assert_eq!(names, [""; 0]);
    }
    assert_eq!(names, [format!("state.db.v{earlier}")]);
    let path = tl.state().join(&names[0]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let copy = Connection::open(path).unwrap();
    assert!(is_whole(&copy) && version(&copy) == earlier);
    assert_eq!(&rows(&copy), before);
}

#[test]
fn each_earlier_version_is_read_at_once_and_keeps_its_rows() {
    let newest = newest();
    assert!(newest >= VERSIONS.len());
    for earlier in 0..=VERSIONS.len() {
        for first in [&["history"][..], &["notify", "list"], &["status"], &["stale"], &["gc", "--dry-run"], &["stats"]]
        {
            let tl = of_version(earlier);
            let before = rows(&open(&tl));
            let ended = tl.run(first);
            assert!(ended.code < 2 && !ended.stderr.contains("error["), "{first:?}: {ended:?}");
            let connection = open(&tl);
            assert!(is_whole(&connection));
            kept(&before, &rows(&connection));
            drop(connection);
            is_shown(&tl, earlier);
            assert_eq!(version(&open(&tl)), newest, "{first:?}");
            backed_up(&tl, earlier, &before);
        }
    }
}

#[test]
fn a_run_writes_behind_what_an_earlier_version_left() {
    for earlier in 0..=VERSIONS.len() {
        let tl = of_version(earlier);
        let mut before = rows(&open(&tl));
        // The run sends pending messages and removes those sent long ago.
        before.remove("outbox");
        tl.pipeline("stages:\n  a: { run: ['true'] }\n").ok(&["run", "p.yaml"]);
        let after = rows(&open(&tl));
        for (table, rows) in &before {
            let is_there = |row: &Vec<(String, Value)>| after[table].iter().any(|other| other.starts_with(row));
            assert!(rows.iter().all(is_there), "{earlier}: {table}");
        }
        assert_eq!(json(&tl, &["history", "--json"])["runs"].as_array().unwrap().len(), [1, 1, 1, 3, 4][earlier]);
    }
}

#[test]
fn one_that_fails_in_the_middle_leaves_the_version_before() {
    const SEED: u64 = 1;
    let newest = newest();
    for earlier in 0..=VERSIONS.len() {
        let history = |tl: &Tl, case: &Case| {
            let mut command = tl.command(&["history"]);
            case.arm(tl, &mut command);
            ended(&mut command)
        };
        let counted = of_version(earlier);
        assert_eq!(history(&counted, &Case { fault: FAULTS[0], at: 0 }).code, 0);
        let writes = counted.read("calls").lines().count();
        assert!(writes > 5, "{writes}");
        let mut cases: Vec<Case> = (1..=writes).flat_map(|at| FAULTS.map(|fault| Case { fault, at })).collect();
        fastrand::Rng::with_seed(SEED).shuffle(&mut cases);
        cases.truncate(most());
        for case in cases {
            let tl = of_version(earlier);
            let before = rows(&open(&tl));
            let told = history(&tl, &case);
            let is_killed = matches!(case.fault, Fault::Killed(_)) && told.code == -1;
            let is_told = told.code == 1 && told.stderr.contains("TL0719") && told.stderr.contains("= help");
            assert!(is_killed || is_told || told.code == 0, "{earlier}, {case}: {told:?}");
            // The next program to open the database rolls a half-written change back, or finds it complete.
            let connection = open(&tl);
            let found = version(&connection);
            assert!(found == earlier || found == newest, "{earlier}, {case}: {found}");
            assert!(is_whole(&connection), "{earlier}, {case}");
            kept(&before, &rows(&connection));
            drop(connection);
            is_shown(&tl, earlier);
            // What a kill left is finished now, and nothing unfinished is left.
            backed_up(&tl, earlier, &before);
        }
    }
}

/// A half-created database that only the program itself has opened.
#[test]
fn one_that_was_killed_as_it_was_made_heals_for_who_only_reads() {
    let counted = of_version(0);
    let mut command = counted.command(&["history"]);
    Case { fault: FAULTS[0], at: 0 }.arm(&counted, &mut command);
    assert_eq!(ended(&mut command).code, 0);
    for at in 1..=counted.read("calls").lines().count() {
        let tl = of_version(0);
        let mut command = tl.command(&["history"]);
        Case { fault: Fault::Killed("after"), at }.arm(&tl, &mut command);
        assert_eq!(ended(&mut command).code, -1, "{at}");
        assert_eq!(json(&tl, &["history", "--json"])["runs"], Json::Array(Vec::new()), "{at}");
    }
}

#[test]
fn several_at_once_are_as_good_as_one() {
    for earlier in 0..=VERSIONS.len() {
        for _ in 0..3 {
            let tl = of_version(earlier);
            let mut before = rows(&open(&tl));
            before.remove("outbox");
            tl.pipeline("stages:\n  a: { run: ['true'] }\n");
            let readers: Vec<_> = (0..4).map(|_| tl.start(&["history", "--json"])).collect();
            let writer = tl.start(&["run", "p.yaml"]);
            for ended in readers.into_iter().chain([writer]).map(collected) {
                assert!(ended.code == 0 && !ended.stdout.contains("TL07"), "{earlier}: {ended:?}");
            }
            assert!(is_whole(&open(&tl)));
            let after = rows(&open(&tl));
            let is_there = |table: &String, row: &Vec<_>| after[table].iter().any(|other| other.starts_with(row));
            assert!(before.iter().all(|(table, rows)| rows.iter().all(|row| is_there(table, row))), "{earlier}");
        }
    }
}

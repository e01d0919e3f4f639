//! This build opens, shows, verifies and resumes a state folder that an earlier build wrote.
//!
//! `0.1.0.tar.zst` is a folder with a pipeline, its store and its state: a successful run, a later one whose stage
//! `last` failed because the file `go` was missing, a message for each of them in the outbox, two versions of the file,
//! and the audit log. It was written below `/srv/orders`. Its keys contain no path, since the archive names its source
//! below `/proc/self/cwd`, so unpacking only has to change the columns with paths. The audit log keeps the old paths.

use rusqlite::Connection;
use serde_json::Value as Json;

use crate::support::{Event, Outcome, Tl, What, ended, files, read_events};

const WRITTEN_AT: &str = "/srv/orders";
const GOOD: &str = "01M8HN90YP4GCZJBWAK8TBW0JD";
const FAILED: &str = "01M8HN93R1PK86PTA039KHVX4R";
/// The columns of `state.db` that may contain a path of the folder, or JSON with one.
const PATHS: [(&str, &str); 9] = [
    ("runs", "file"),
    ("outbox", "file"),
    ("versions", "path"),
    ("version_files", "path"),
    ("deliveries", "uri"),
    ("deliveries", "coming"),
    ("effects", "outputs"),
    ("stages", "outputs"),
    ("stages", "error"),
];

fn unpacked() -> Tl {
    let tl = Tl::new();
    let bytes = zstd::decode_all(include_bytes!("earlier/0.1.0.tar.zst").as_slice()).unwrap();
    tar::Archive::new(bytes.as_slice()).unpack(tl.path()).unwrap();
    // Runs identify a file by its canonical path.
    let here = std::fs::canonicalize(tl.path()).unwrap();
    let connection = Connection::open(tl.state().join("state.db")).unwrap();
    for (table, column) in PATHS {
        let sql = format!("UPDATE {table} SET {column} = replace({column}, ?1, ?2)");
        connection.execute(&sql, [WRITTEN_AT, here.to_str().unwrap()]).unwrap();
    }
    drop(connection);
    tl
}

fn json(tl: &Tl, arguments: &[&str]) -> Json {
    serde_json::from_str(&tl.ok(arguments).stdout).unwrap()
}

#[test]
fn it_is_shown_as_it_was_written() {
    let tl = unpacked();
    let runs = json(&tl, &["history", "--json"]);
    let ends: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| (&run["run"], &run["outcome"])).collect();
    assert_eq!(ends, [(&FAILED.into(), &"failure".into()), (&GOOD.into(), &"success".into())]);
    // Wide enough that no path is wrapped.
    let shown = |run: &str| tl.redact(&ended(tl.command(&["show", run]).env("COLUMNS", "200")).stdout);
    insta::assert_snapshot!("earlier_failed", shown(FAILED));
    insta::assert_snapshot!("earlier_good", shown(GOOD));
    assert!(tl.ok(&["logs", FAILED]).stdout.contains("hello world"));
    let versions = json(&tl, &["versions", "p.yaml", "--json"]).to_string();
    assert!(versions.contains("31d24566f578") && versions.contains("165e5b59dae4"), "{versions}");
    let messages = tl.ok(&["notify", "list"]).stdout;
    assert!([GOOD, FAILED].iter().all(|run| messages.contains(run)) && messages.contains("pending"), "{messages}");
    let verified = tl.ok(&["audit", "verify"]).stdout;
    assert!(verified.contains("41 records"), "{verified}");
}

#[test]
fn its_failed_run_is_resumed_and_repeats_nothing() {
    let tl = unpacked();
    let objects = files(&tl.file("shelf"));
    tl.write("go", "");
    let ended = tl.run(&["run", "--resume", FAILED, "--reporter", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let events = read_events(&ended.stdout);
    let is_done = |event: &Event| match &event.what {
        // The outcome of a matrix is computed again from its recalled instances.
        What::StageEnded { stage, outcome, recalled: false, .. } if stage != "many" => Some((stage.clone(), *outcome)),
        _ => None,
    };
    let done: Vec<_> = events.iter().filter_map(is_done).collect();
    assert_eq!(done, [("last".to_owned(), Outcome::Success)]);
    assert_eq!((tl.read("ran.txt"), tl.read("many.txt")), ("ran\n".to_owned(), "1\n2\n".to_owned()));
    assert_eq!(files(&tl.file("shelf")), objects);
    let verified = tl.ok(&["audit", "verify"]).stdout;
    assert!(!verified.contains(" 41 records"), "{verified}");
    assert!(tl.ok(&["show", FAILED]).stdout.starts_with("orders  success"));
}

//! Past, current and overdue runs: `tl status`, `history`, `show`, `stats`, `stale`, `gc`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, params};
use serde_json::{Map, Value as Json, json};
use timelocker::diagnostic::{Diagnostic, ExitCode, codes};
use timelocker::event::{Assurance, Counts, Did, Outcome, What};
use timelocker::state::{Effect, Finish, Journal, Start, StateDir, Text};
use timelocker::value::utc;
use unicode_width::UnicodeWidthStr;

use crate::support::{Tl, ended, event, files};

const DAY: Duration = Duration::from_hours(24);

/// A state folder with runs recorded as real runs record them.
struct Kept<'t> {
    tl: &'t Tl,
    state: StateDir,
}

impl<'t> Kept<'t> {
    fn new(tl: &'t Tl) -> Self {
        let state = StateDir::locate(Some(&tl.state())).unwrap();
        state.create().unwrap();
        Self { tl, state }
    }

    fn sql(&self) -> Connection {
        let connection = Connection::open(self.tl.state().join("state.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        connection
    }

    fn begin(&self, id: &str, pipeline: &str) -> Journal {
        let start = Start {
            run: id.to_owned(),
            pipeline: pipeline.to_owned(),
            file: self.tl.file(&format!("{pipeline}.yaml")),
            sha256: "ab".repeat(32),
            inputs: Some(json!({ "environment": "staging" }).as_object().unwrap().clone()),
            fixed: json!({}),
        };
        let mut journal = self.state.begin_journal(&start).unwrap();
        journal.ready(start.inputs.as_ref()).unwrap();
        journal
    }

    /// A complete run of one stage, this many days ago.
    fn ran(&self, id: &str, pipeline: &str, outcome: &str, days: u32, seconds: f64, bytes: u64) {
        let journal = self.begin(id, pipeline);
        let outputs = delivered(&format!("file:///shelf/{id}"), bytes);
        stage(&journal, "deliver", None, outcome, seconds, if outcome == "success" { outputs } else { json!({}) });
        let exit_code = ExitCode::failed_if(outcome == "failure");
        let outcome = Outcome::from_word(outcome).unwrap();
        let at = outcome.is_ok().then(|| utc(SystemTime::now().try_into().unwrap()));
        let counts = Counts { assurance: at.as_ref().map(|_| Assurance::Delivered), at, ..Counts::default() };
        journal.finish(Finish { outcome, exit_code, seconds, left_out: Vec::new(), counts, error: None }).unwrap();
        drop(journal);
        self.date(id, days);
    }

    /// Changes the start of a run to this many days ago.
    fn date(&self, id: &str, days: u32) {
        let time = jiff::Timestamp::now() - DAY * days;
        let time = time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let sql = "UPDATE runs SET started = ?2, ended = iif(ended IS NULL, NULL, ?2), good = iif(good IS NULL, NULL, ?2) WHERE id = ?1";
        self.sql().execute(sql, params![id, time]).unwrap();
    }

    fn count(&self, table: &str) -> i64 {
        self.sql().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

fn id(number: usize) -> String {
    format!("01KB{number:0>22}")
}

fn name(stage: &str, instance: Option<&str>) -> (String, Option<String>) {
    (stage.to_owned(), instance.map(str::to_owned))
}

fn write(journal: &Journal, what: What) {
    journal.log(&utc(jiff::Timestamp::now()), what);
}

fn progress(journal: &Journal, stage: &str, instance: Option<&str>, bytes: u64) {
    let (stage, instance) = name(stage, instance);
    write(journal, What::StageProgress { stage, instance, bytes });
}

fn ended_as(stage: &str, instance: Option<&str>, outcome: Outcome, seconds: f64, outputs: Json) -> What {
    let (stage, instance) = name(stage, instance);
    let Json::Object(outputs) = outputs else { panic!("outputs are a map") };
    let error = (outcome == Outcome::Failure).then(problem);
    let did = Did::default();
    What::StageEnded { stage, instance, outcome, seconds, outputs, did, reason: None, error, recalled: false }
}

fn started(journal: &Journal, stage: &str, instance: Option<&str>, attempt: u32) {
    let (stage, instance) = name(stage, instance);
    let kind = if stage == "collect" { "archive" } else { "upload" }.to_owned();
    write(journal, What::StageStarted { stage, instance, kind, attempt });
}

/// The outputs of an `upload`.
fn delivered(uri: &str, size: u64) -> Json {
    json!({ "object": {
        "store": "shelf", "key": "k", "uri": uri, "size": size, "digest": "sha256:00", "version_id": null, "lock_until": null,
    } })
}

fn stage(journal: &Journal, stage: &str, instance: Option<&str>, outcome: &str, seconds: f64, outputs: Json) {
    started(journal, stage, instance, 1);
    write(journal, ended_as(stage, instance, Outcome::from_word(outcome).unwrap(), seconds, outputs));
}

fn problem() -> Diagnostic {
    let full = std::io::Error::other("the disk is full");
    Diagnostic::failure(codes::TL0634, "no space is left\u{1b}[2J").cause(&full).help("make room").transient(true)
}

fn json_of(tl: &Tl, arguments: &[&str]) -> Json {
    serde_json::from_str(&tl.ok(&[arguments, &["--json"]].concat()).stdout).unwrap()
}

/// Output without the values that differ between runs.
fn shown(tl: &Tl, arguments: &[&str], columns: &str) -> String {
    let ended = ended(tl.command(arguments).env("COLUMNS", columns));
    // Paths, commands to copy and problems are never cut.
    let is_whole = |line: &&str| line.contains(['/', '=', '`', '[']) || line.starts_with("  tl ");
    for line in ended.stdout.lines().filter(|line| !is_whole(line)) {
        assert!(line.width() <= columns.parse().unwrap(), "{line:?} in {ended:?}");
    }
    let text = ended.shown(tl);
    let times = regex::Regex::new(r"\[DATE\] \d\d:\d\d(:\d\d)?Z").unwrap();
    let process = regex::Regex::new(r"process \d+").unwrap();
    // Column widths depend on how fast this machine is.
    let gaps = regex::Regex::new(r"(\S) {3,}").unwrap();
    let text = times.replace_all(&text, "[WHEN]").into_owned();
    gaps.replace_all(&process.replace_all(&text, "process [N]"), "$1  ").into_owned()
}

#[test]
fn where_nothing_ran_answers_are_empty_and_nothing_is_made() {
    let tl = Tl::new();
    let commands = ["status", "history", "show", "stats", "stale", "gc"];
    for command in commands {
        let ended = tl.ok(&[command]);
        assert!(ended.stdout.is_empty() && ended.stderr.lines().count() == 1, "{command}: {ended:?}");
        json_of(&tl, &[command]);
    }
    assert!(files(tl.path()).is_empty());
    // The same in a state folder of an old release that kept no runs.
    fs::create_dir(tl.state()).unwrap();
    for command in commands {
        tl.ok(&[command]);
    }
    assert!(files(tl.path()).is_empty());
}

#[test]
fn runs_are_listed_newest_first() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    kept.ran(&id(1), "orders", "success", 9, 200.0, 5_000_000);
    insta::assert_snapshot!("history_one", shown(&tl, &["history"], "80"));
    kept.ran(&id(2), "orders", "failure", 8, 3_599.0, 0);
    kept.ran(&id(3), "a_very_long_name_of_a_pipeline_that_protects_all_orders", "success", 7, 1.0, 1);
    kept.ran(&id(4), "hostile\u{1b}[2J\u{202e}name", "warning", 6, 0.2, 1);
    drop(kept.begin(&id(5), "customers"));
    let work = kept.state.create_work(&id(6)).unwrap().unwrap();
    let resumed = kept.begin(&id(6), "customers");
    drop(resumed);
    drop(kept.state.resume_journal(&id(6), "cd").unwrap());
    insta::assert_snapshot!("history_many", shown(&tl, &["history"], "80"));
    insta::assert_snapshot!("history_narrow", shown(&tl, &["history"], "40"));

    let ids = |arguments: &[&str]| {
        let found = json_of(&tl, &[&["history"], arguments].concat());
        let runs = found["runs"].as_array().unwrap();
        runs.iter().map(|run| run["run"].as_str().unwrap()[25..].to_owned()).collect::<String>()
    };
    assert_eq!(ids(&[]), "654321");
    assert_eq!(ids(&["orders"]), "21");
    assert_eq!(ids(&["orders.yaml"]), "21");
    tl.write("sub/x", "");
    assert_eq!(ids(&["sub/../orders.yaml"]), "21");
    assert_eq!(ids(&["--outcome", "success"]), "31");
    assert_eq!(ids(&["--outcome", "running"]), "6");
    assert_eq!(ids(&["--outcome", "interrupted", "customers"]), "5");
    assert_eq!(ids(&["--since", "180h"]), "6543");
    assert_eq!(ids(&["--since", "2999-01-01"]), "");
    assert_eq!(ids(&["--last", "2", "--outcome", "success"]), "31");
    let two = json_of(&tl, &["history", "--last", "2"]);
    assert_eq!((two["runs"].as_array().unwrap().len(), &two["is_all"]), (2, &Json::Bool(false)));
    assert_eq!(
        json_of(&tl, &["history"])["runs"][4]["failed"],
        json!({"stage": "deliver", "instance": null, "code": "TL0634"})
    );
    assert!(tl.run(&["history", "--since", "soon"]).stderr.contains("TL0762"));
    drop(work);
    assert_eq!(ids(&["--outcome", "interrupted"]), "65");
}

/// A run that was resumed and failed again, with instances, remarks, and names with terminal escapes.
fn eventful(kept: &Kept<'_>, id: &str) {
    let journal = kept.begin(id, "orders");
    let outputs = json!({ "artifact": "artifact:collect", "files": 3, "bytes": 4_096, "skipped": 0 });
    stage(&journal, "collect", None, "success", 1.25, outputs);
    started(&journal, "deliver", Some("nas"), 1);
    drop(journal);
    let journal = kept.state.resume_journal(id, "cd").unwrap();
    let (deliver, nas) = name("deliver", Some("nas"));
    let retry = What::StageRetrying {
        stage: deliver.clone(),
        instance: nas.clone(),
        attempt: 1,
        delay_ms: 5,
        error: problem(),
    };
    started(&journal, "deliver", Some("nas"), 1);
    write(&journal, retry);
    started(&journal, "deliver", Some("nas"), 2);
    progress(&journal, "deliver", Some("nas"), 1 << 20);
    let warning = Diagnostic::warning(codes::TL0613, "`a`: it shrank");
    write(&journal, What::StageWarning { stage: deliver, instance: nas, warning });
    let object = delivered("file:///mnt/nas/orders/2026-11-24/01KB.tar.zst.age", 1_048_576);
    write(&journal, ended_as("deliver", Some("nas"), Outcome::Warning, 2.5, object));
    stage(&journal, "deliver", Some("off\u{1b}[31m\u{202e}site\n"), "failure", 0.5, json!({}));
    stage(&journal, "deliver", None, "failure", 2.5, json!({ "object": [null, null] }));
    let mut skipped = ended_as("prove", None, Outcome::Skipped, 0.0, json!({}));
    if let What::StageEnded { reason, .. } = &mut skipped {
        *reason = Some("`deliver` failed".to_owned());
    }
    write(&journal, skipped);
    journal
        .finish(Finish {
            outcome: Outcome::Failure,
            exit_code: ExitCode::Failure,
            seconds: 61.0,
            left_out: Vec::new(),
            counts: Counts::default(),
            error: None,
        })
        .unwrap();
}

#[test]
fn all_of_a_run_is_shown_and_what_to_do_next() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    eventful(&kept, &id(1));
    insta::assert_snapshot!("show_resumed", shown(&tl, &["show"], "80"));
    insta::assert_snapshot!("show_narrow", shown(&tl, &["show"], "40"));
    let record = json_of(&tl, &["show"]);
    assert_eq!((&record["sessions"], &record["exit_code"]), (&json!(2), &json!(1)));
    assert_eq!(record["remarks"][0]["problem"]["code"], "TL0634");
    assert_eq!(record["stages"][1]["instance"], "nas");
    assert_eq!(record["stages"][1]["bytes"], 1 << 20);

    kept.ran(&id(2), "orders", "success", 0, 1.0, 1);
    insta::assert_snapshot!("show_success", shown(&tl, &["show", &id(2)], "80"));
    drop(kept.begin("01KCZZZZ000000000000000003", "orders"));
    insta::assert_snapshot!("show_interrupted", shown(&tl, &["show"], "80"));
    // By a prefix or a suffix, in any case.
    for word in ["01kcz", "00000003", "01KCZZZZ000000000000000003"] {
        assert_eq!(json_of(&tl, &["show", word])["run"], "01KCZZZZ000000000000000003", "{word}");
    }
    for (name, word) in [("several", "01KB"), ("short", "003"), ("unknown", "ABCDEF")] {
        let ended = tl.run(&["show", word]);
        assert_eq!(ended.code, 2);
        insta::assert_snapshot!(format!("show_{name}"), ended.shown(&tl));
    }
    assert_eq!(tl.run(&["show", "%%%%"]).code, 2);
}

#[test]
fn what_runs_and_what_was_interrupted_is_told_apart_by_the_lock() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    drop(kept.begin(&id(1), "customers"));
    let work = kept.state.create_work(&id(2)).unwrap().unwrap();
    let journal = kept.begin(&id(2), "orders");
    stage(&journal, "collect", None, "success", 1.0, json!({}));
    started(&journal, "deliver", Some("na\u{1b}s"), 2);
    progress(&journal, "deliver", Some("na\u{1b}s"), 5 << 20);
    started(&journal, "copy", None, 1);
    progress(&journal, "copy", None, 1 << 20);
    drop(journal);
    insta::assert_snapshot!("status_both", shown(&tl, &["status"], "80"));
    insta::assert_snapshot!("status_narrow", shown(&tl, &["status"], "40"));
    let status = json_of(&tl, &["status"]);
    assert_eq!(status["runs"][0]["life"], "interrupted");
    assert_eq!(status["runs"][0]["resume"], format!("tl run --resume {}", id(1)));
    assert_eq!(status["runs"][1]["working"][0]["bytes"], 5 << 20);
    drop(work);
    assert_eq!(json_of(&tl, &["status"])["runs"][1]["life"], "interrupted");
    // Newer runs of the same file replaced them.
    kept.ran(&id(3), "orders", "failure", 0, 1.0, 0);
    kept.ran(&id(4), "customers", "skipped", 0, 1.0, 0);
    let left = json_of(&tl, &["status"]);
    assert_eq!((left["runs"].as_array().unwrap().len(), &left["runs"][0]["run"]), (1, &json!(id(1))));
}

/// A real run that is killed.
#[test]
fn a_killed_process_runs_no_more() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    tl.write("p.yaml", "version: 1\nname: p\nstages:\n  a: { run: [sleep, '60'] }\n");
    let mut child = tl.start(&["run", "p.yaml", "--reporter", "json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines.find(|line| line.as_ref().unwrap().contains("stage-started")).unwrap().unwrap();
    let run = event(&begun)["run"].as_str().unwrap().to_owned();
    if kept.state.prior_run(&run).unwrap().is_none() {
        let start = Start {
            run: run.clone(),
            pipeline: "p".to_owned(),
            file: tl.file("p.yaml"),
            sha256: String::new(),
            inputs: Some(Map::new()),
            fixed: json!({}),
        };
        drop(kept.state.begin_journal(&start).unwrap());
    }
    let life = || json_of(&tl, &["status"])["runs"][0]["life"].clone();
    assert_eq!(life(), "running");
    // Garbage collection keeps a running run.
    tl.ok(&["gc", "--runs", "0s", "--logs", "0s"]);
    assert_eq!(life(), "running");
    child.kill().unwrap();
    child.wait().unwrap();
    // Its programs are ended first.
    crate::support::wait_for(|| life() == "interrupted");
    assert!(tl.ok(&["show"]).stdout.contains(&format!("`tl run --resume {run}`")));
}

#[test]
fn each_change_is_a_line_of_json() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    let mut child = tl.start(&["status", "--watch", "--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Json>(&lines.next().unwrap().unwrap()).unwrap()["runs"].clone();
    assert_eq!(next(), json!([]));
    let work = kept.state.create_work(&id(1)).unwrap().unwrap();
    let journal = kept.begin(&id(1), "orders");
    let mut until = |what: &dyn Fn(&Json) -> bool| while !what(&next()) {};
    until(&|runs| runs[0]["life"] == "running");
    started(&journal, "deliver", None, 1);
    until(&|runs| runs[0]["working"][0]["stage"] == "deliver");
    progress(&journal, "deliver", None, 77);
    until(&|runs| runs[0]["working"][0]["bytes"] == 77);
    // The death of a process writes nothing to the database.
    drop(work);
    until(&|runs| runs[0]["life"] == "interrupted");
    journal
        .finish(Finish {
            outcome: Outcome::Success,
            exit_code: ExitCode::Success,
            seconds: 1.0,
            left_out: Vec::new(),
            counts: Counts::default(),
            error: None,
        })
        .unwrap();
    until(&|runs| *runs == json!([]));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn numbers_over_time_and_what_is_odd_about_the_last_run() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    for number in 0..20_u32 {
        let seconds = 60.0 + f64::from(number % 5);
        let bytes = 1_000_000 + u64::from(number) * 10_000;
        let outcome = if number == 7 { "failure" } else { "success" };
        kept.ran(&id(number as usize), "orders", outcome, 20 - number, seconds, bytes);
    }
    kept.ran(&id(20), "orders", "success", 0, 300.0, 20_000);
    kept.ran(&id(30), "customers", "cancelled", 0, 1.0, 0);
    insta::assert_snapshot!("stats", shown(&tl, &["stats"], "80"));
    insta::assert_snapshot!("stats_narrow", shown(&tl, &["stats", "orders"], "40"));
    let unicode = ended(tl.command(&["stats", "orders"]).env("LANG", "C.UTF-8")).stdout;
    assert!(unicode.contains('█') && unicode.lines().all(|line| line.width() <= 80), "{unicode}");
    let stats = json_of(&tl, &["stats", "orders", "--last", "10"]);
    let orders = &stats["pipelines"][0];
    assert_eq!((&orders["runs"], &orders["seconds"]["last"]), (&json!(10), &json!(300.0)));
    assert_eq!(orders["odd"][0]["median"], 62.0);
    assert_eq!(json_of(&tl, &["stats", "nobody"])["pipelines"], json!([]));
}

fn expecting(name: &str, every: &str) -> String {
    format!("version: 1\nname: {name}\nexpect: {{ success-every: {every} }}\nstages:\n  a: {{ run: [echo, a] }}\n")
}

#[test]
fn what_has_not_succeeded_in_time_is_named() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    tl.write("orders.yaml", expecting("orders", "1d")).write("customers.yaml", expecting("customers", "7d"));
    tl.write("silent.yaml", "version: 1\nname: silent\nstages:\n  a: { run: [echo, a] }\n")
        .write("other.yaml", "a: 1\n");
    let never = tl.run(&["stale", "orders.yaml"]);
    assert!(never.code == 1 && never.stderr.contains("`orders` has not"), "{never:?}");
    for (number, name) in ["orders", "customers", "gone", "silent", "broken"].into_iter().enumerate() {
        kept.ran(&id(number), name, "success", 3, 1.0, 1);
        let text = Text { path: tl.file(&format!("{name}.yaml")), content: expecting(name, "1d").into() };
        kept.state.versions().unwrap().keep(name, &text, &[], true).unwrap();
    }
    tl.write("broken.yaml", "version: 1\nname: broken\nstages: [\n");
    let redact = |text: String| {
        regex::Regex::new(r"in \d+ days|\d+ h \d+ min").unwrap().replace_all(&text, "[AGE]").into_owned()
    };
    insta::assert_snapshot!("stale_known", redact(shown(&tl, &["stale"], "80")));
    tl.write("broken.yaml", "nothing");
    insta::assert_snapshot!("stale_folder", redact(shown(&tl, &["stale", ".", "orders.yaml"], "80")));
    kept.ran(&id(7), "orders", "warning", 0, 1.0, 1);
    tl.ok(&["stale", "orders.yaml", "customers.yaml", "silent.yaml"]);
    // A failure is no success.
    kept.ran(&id(8), "orders", "failure", 0, 1.0, 1);
    tl.ok(&["stale", "orders.yaml"]);
    let found = json_of(&tl, &["stale", "customers.yaml"]);
    let customers = &found["pipelines"][0];
    assert_eq!((&customers["success_every"], &customers["is_stale"]), (&json!("7d"), &json!(false)));
    assert_eq!(tl.run(&["stale", "nowhere.yaml"]).code, 2);
}

/// Makes a log folder that was last written this long ago.
fn log(tl: &Tl, id: &str, age: Duration) -> PathBuf {
    let folder = tl.state().join("logs").join(id);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("deliver.log"), "a line\n").unwrap();
    for path in [folder.join("deliver.log"), folder.clone()] {
        fs::File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }
    folder
}

#[test]
fn what_is_of_no_more_use_is_removed() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    for number in 0..3 {
        kept.ran(&id(number), "orders", "success", 100, 1.0, 1);
    }
    kept.ran(&id(3), "orders", "failure", 95, 1.0, 1);
    kept.ran(&id(4), "orders", "failure", 2, 1.0, 1);
    for number in [5, 6, 7] {
        drop(kept.begin(&id(number), if number == 7 { "customers" } else { "archive" }));
        kept.date(&id(number), 120);
    }
    let logs = [(0, 100), (4, 2), (7, 100)].map(|(number, days)| log(&tl, &id(number), DAY * days));
    let busy = log(&tl, &id(6), DAY * 100);
    // An old run that is still running. Takes its work folder before the others exist: creating one would sweep them.
    let running = kept.state.create_work(&id(6)).unwrap().unwrap();
    for number in [3, 4, 5, 7] {
        let folder = tl.state().join("work").join(id(number));
        fs::create_dir_all(folder.join("spool")).unwrap();
        fs::write(folder.join("lock"), "").unwrap();
        fs::write(folder.join("spool/archive"), [0; 1_000]).unwrap();
    }
    fs::create_dir_all(tl.state().join("work/not-a-run")).unwrap();
    let text = |content: &str| Text { path: tl.file("orders.yaml"), content: content.into() };
    kept.state.versions().unwrap().keep("orders", &text("kept"), &[], true).unwrap();
    kept.sql().execute("INSERT INTO texts VALUES ('00', 'nobody')", []).unwrap();
    fs::create_dir_all(tl.state().join("audit")).unwrap();
    fs::write(tl.state().join("audit/log"), "signed").unwrap();

    let would = json_of(&tl, &["gc", "--dry-run"]);
    let before = files(tl.path());
    assert_eq!(would["dry_run"], true);
    insta::assert_snapshot!("gc_dry", tl.run(&["gc", "--dry-run"]).shown(&tl));
    assert_eq!(files(tl.path()), before);
    let mut did = json_of(&tl, &["gc"]);
    did["dry_run"] = true.into();
    assert_eq!(did, would);
    // Runs 0 and 1 are old, 3 failed long ago, 5 and 7 were abandoned. Run 2 is the last success, and 6 is running.
    let left: Vec<String> = json_of(&tl, &["history"])["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["run"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(left, [id(6), id(4), id(2)]);
    assert_eq!((kept.count("stages"), kept.count("texts")), (2, 1));
    let is_there: Vec<bool> = logs.iter().map(|folder| folder.exists()).collect();
    assert_eq!((is_there, busy.exists()), (vec![false, true, false], true));
    let work = |number: usize| tl.state().join("work").join(id(number)).exists();
    // A failed run can be resumed until another run replaces it.
    assert_eq!([3, 4, 5, 6, 7].map(work), [false, true, false, true, false]);
    assert!(tl.state().join("work/not-a-run").exists() && tl.state().join("audit/log").exists());
    assert_eq!(tl.ok(&["gc"]).stderr, "there is nothing to remove\n");
    drop(running);
}

/// Killed at random moments, again and again: the rest stays consistent, and the next collection finishes the work.
#[test]
fn a_collection_that_is_killed_is_taken_up_by_the_next() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    let runs = 600;
    drop(kept.begin(&id(0), "orders"));
    let mut sql = kept.sql();
    let fill = sql.transaction().unwrap();
    for number in 1..runs {
        let id = id(number);
        let copy = "INSERT INTO runs SELECT ?1, pipeline, file, sha256, inputs, fixed, session, process, since, '2020-01-01', '2020-01-02',
                    'failure', 1, 1.0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM runs WHERE id = ?2";
        fill.execute(copy, params![id, self::id(0)]).unwrap();
        for stage in 0..20 {
            let row = "INSERT INTO stages (run, stage, instance, position, session) VALUES (?1, ?2, '', ?3, 1)";
            fill.execute(row, params![id, format!("s{stage}"), stage]).unwrap();
        }
        let folder = tl.state().join("work").join(&id);
        fs::create_dir_all(&folder).unwrap();
        for file in ["lock", "a", "b"] {
            fs::write(folder.join(file), "x").unwrap();
        }
        log(&tl, &id, DAY * 40);
    }
    fill.commit().unwrap();
    let mut kills = 0;
    for _ in 0..25 {
        let mut child = tl.start(&["gc"]);
        thread::sleep(Duration::from_millis(random.u64(5..300)));
        child.kill().unwrap();
        kills += usize::from(!child.wait().unwrap().success());
        let halves =
            "SELECT count(*) FROM runs WHERE ended IS NOT NULL AND (SELECT count(*) FROM stages WHERE run = id) <> 20";
        assert_eq!(sql.query_row(halves, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
        let health: String = sql.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
        assert_eq!(health, "ok");
    }
    eprintln!("{kills} of 25 were killed, {} runs left", kept.count("runs"));
    tl.ok(&["gc"]);
    assert_eq!((kept.count("runs"), kept.count("stages")), (1, 0));
    let left: Vec<String> = files(&tl.state()).into_iter().filter(|name| name.contains("01KB")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn readers_and_a_writer_do_not_wait_for_each_other() {
    let tl = Tl::new();
    let kept = Kept::new(&tl);
    let _work = kept.state.create_work(&id(1)).unwrap().unwrap();
    let journal = kept.begin(&id(1), "orders");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let stage = format!("s{}", number % 50);
                started(&journal, &stage, None, 1);
                progress(&journal, &stage, None, number);
                let effect = Effect {
                    stage,
                    instance: None,
                    key: number.to_string(),
                    outputs: json!({}),
                    artifact: None,
                    warned: false,
                };
                journal.commit(vec![effect], |result| result.unwrap());
                thread::sleep(Duration::from_millis(1));
            }
        });
        // Another process holds a write transaction open.
        let writer = kept.sql();
        writer.execute_batch("BEGIN IMMEDIATE; UPDATE runs SET pipeline = 'half done';").unwrap();
        let began = Instant::now();
        for _ in 0..5 {
            assert_eq!(json_of(&tl, &["status"])["runs"][0]["pipeline"], "orders");
            json_of(&tl, &["show"]);
            json_of(&tl, &["history"]);
        }
        eprintln!("15 readers took {:?}", began.elapsed());
        writer.execute_batch("ROLLBACK").unwrap();
        for _ in 0..5 {
            let record = json_of(&tl, &["show"]);
            assert!(record["stages"].as_array().unwrap().len() <= 50);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// The state of a machine that is gone, on a disk that is only read.
#[test]
fn a_state_folder_that_cannot_be_written_can_be_read() {
    let tl = Tl::unprivileged();
    tl.pipeline("stages:\n  a: { run: ['true'] }\n").ok(&["run", "p.yaml"]);
    let id = tl.last_run();
    let set_mode = |mode| fs::set_permissions(tl.state(), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o500);
    for arguments in [&["history"][..], &["status"], &["stats"], &["show", &id]] {
        let read = tl.run(arguments);
        assert!(read.code == 0 && !read.stderr.contains("TL0"), "{arguments:?}: {read:?}");
    }
    assert_eq!(json_of(&tl, &["history"])["runs"][0]["run"], *id);
    // A log beside the database holds a part of it, which nobody can read here.
    set_mode(0o700);
    fs::write(tl.state().join("state.db-wal"), "a part").unwrap();
    set_mode(0o500);
    let refused = tl.run(&["history"]);
    assert!(refused.code == 1 && refused.stderr.contains("TL0719"), "{refused:?}");
    set_mode(0o700);
}

//! The recorder, driven by the real program and on a failing disk.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value as Json;
use timelocker::audit::{Filter, Log, LogEntry, Record, Recorder, StageName, read, verify};
use timelocker::value::Masker;

use crate::support::Tl;
use crate::support::writes::{Case, FAULTS, Fault};

fn entries(dir: &Path, kind: &str) -> Vec<LogEntry> {
    let filter = Filter { kind: Some(kind.to_owned()), ..Filter::default() };
    read(dir, filter).unwrap().map(Result::unwrap).collect()
}

fn stages(entries: &[LogEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.data["stage"].as_str().unwrap().to_owned()).collect()
}

/// A run continues while the log cannot be written, and the log is complete in the end.
#[test]
fn stages_do_not_wait_for_a_process_that_holds_the_log() {
    const STAGES: usize = 100;
    const HELD: Duration = Duration::from_secs(5);
    let tl = Tl::new();
    let gate = "  gate: { run: 'until [ -e open ]; do sleep 0.05; done', shell: sh }\n";
    let stage = |number| format!("  s{number}: {{ needs: gate, run: ['true'] }}\n");
    let all: String = (0..STAGES).map(stage).collect();
    tl.pipeline(&format!("max-parallel: {STAGES}\nstages:\n{gate}{all}"));
    let mut child = tl.start(&["run", "p.yaml", "--reporter", "json"]);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Json>(&line.unwrap()).unwrap());
    // A run does not start its first stage before its start is recorded.
    assert!(events.any(|event| event["event"] == "stage-started"));
    let audit = tl.state().join("audit");
    let lock = File::open(audit.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let (since, before) = (Instant::now(), entries(&audit, "stage").len());
    tl.write("open", "");
    let mut ended = Vec::new();
    while ended.len() < STAGES + 1 {
        let event = events.next().expect("the run ends before its stages");
        if event["event"] == "stage-ended" {
            assert_eq!(event["outcome"], "success", "{event:#}");
            ended.push(event["stage"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(entries(&audit, "stage").len(), before, "the lock is not held");
    thread::sleep(HELD.saturating_sub(since.elapsed()));
    drop(lock);
    let last = events.last().unwrap();
    assert_eq!((child.wait().unwrap().code(), &last["event"]), (Some(0), &Json::from("run-ended")));
    let (began, over) = (entries(&audit, "stage.started"), entries(&audit, "stage.ended"));
    assert_eq!(stages(&over), ended, "the order of the log is not that of the events");
    assert_eq!(began.len(), STAGES + 1);
    for start in &began {
        let end = over.iter().find(|end| end.data["stage"] == start.data["stage"]).unwrap();
        assert!(start.seq < end.seq, "{start:?} {end:?}");
    }
    let report = verify(&audit).unwrap();
    assert_eq!((report.problems.as_slice(), report.unsigned_tail), (&[][..], 0));
}

const WRITERS: u32 = 3;
const RECORDS: u32 = 5;
/// The variable that names the folder for the test when it runs again as a writer.
const FOLDER: &str = "TL_TEST_RECORDER_FOLDER";

/// Whichever call of a commit fails or is the last, every acknowledged record is in the log once and in order, with
/// everything that its writer noted before.
#[test]
fn nothing_acknowledged_is_lost_at_any_call_of_a_commit() {
    let count = |case: &Case| -> (Tl, usize) {
        let tl = Tl::new();
        Log::open(&tl.state().join("audit")).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "audit::recorder::a_process_that_records", "--ignored", "--nocapture"])
            .env(FOLDER, tl.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        case.arm(&tl, &mut command);
        let is_well = command.status().unwrap().success();
        let calls = tl.read("calls").lines().count();
        // A writer that was to be killed made fewer calls this time.
        assert!(is_well != (matches!(case.fault, Fault::Killed(_)) && case.at <= calls), "{case}");
        (tl, calls)
    };
    let (whole, calls) = count(&Case { fault: Fault::Error { number: 0, forever: false }, at: 0 });
    assert_eq!(check(&whole), WRITERS * RECORDS);
    let mut acknowledged = 0;
    for at in 1..=calls {
        for fault in FAULTS {
            let (tl, _) = count(&Case { fault, at });
            acknowledged += check(&tl);
        }
    }
    assert!(acknowledged > 0);
    println!("{} faults at {calls} calls, {acknowledged} records acknowledged and found", FAULTS.len() * calls);
}

/// Compares what the writers were told with the log. Returns how many records were acknowledged.
fn check(tl: &Tl) -> u32 {
    let audit = tl.state().join("audit");
    // The next writer makes any necessary repair.
    Log::open(&audit).unwrap();
    assert_eq!(verify(&audit).unwrap().problems, []);
    let mut places: BTreeMap<(String, u64), Vec<(String, u64)>> = BTreeMap::new();
    for entry in entries(&audit, "stage") {
        let writer = entry.data["stage"].as_str().unwrap().to_owned();
        let number = entry.data["instance"].as_str().unwrap().parse().unwrap();
        places.entry((writer, number)).or_default().push((entry.kind, entry.seq));
    }
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for ((writer, number), found) in &places {
        let kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
        assert!(
            kinds == ["stage.started", "stage.ended"] || kinds == ["stage.started"],
            "{writer} {number}: {kinds:?}"
        );
        let before = last.insert(writer, found[0].1);
        assert!(before.is_none_or(|before| before < found[0].1), "{writer} {number} is out of order");
    }
    let acks = fs::read_to_string(tl.file("acks")).unwrap_or_default();
    for ack in acks.lines() {
        let (writer, number) = ack.split_once(' ').unwrap();
        let found = places.get(&(writer.to_owned(), number.parse().unwrap())).map_or(0, Vec::len);
        assert_eq!(found, 2, "{ack} was acknowledged");
    }
    u32::try_from(acks.lines().count()).unwrap()
}

#[test]
#[ignore = "it is started by `nothing_acknowledged_is_lost_at_any_call_of_a_commit`"]
fn a_process_that_records() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let Ok(log) = Log::open(&folder.join("state/audit")) else { return };
    let recorder = Recorder::new(log, None, Masker::default());
    let acks = OpenOptions::new().create(true).append(true).open(folder.join("acks")).unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (recorder, mut acks) = (&recorder, &acks);
            scope.spawn(move || {
                for number in 0..RECORDS {
                    let name = StageName { stage: format!("w{writer}"), instance: Some(number.to_string()) };
                    recorder.note(Record::StageStarted { name: name.clone() }).unwrap();
                    let outcome = "success".to_owned();
                    let end = Record::StageEnded { name, outcome, detail: None, recalled: false };
                    if recorder.record(end).is_ok() {
                        acks.write_all(format!("w{writer} {number}\n").as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    let _may_fail = recorder.checkpoint();
}

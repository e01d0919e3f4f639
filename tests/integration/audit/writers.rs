use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use timelocker::audit::{Draft, Durability, Filter, Log, LogEntry, Severity, read};

use super::sample::{Put as _, Sample};

const PROCESSES: u64 = 4;
const THREADS: u64 = 8;
const RECORDS: u64 = 100;
/// The variable that names the folder for a test that runs again as a writer.
const FOLDER: &str = "TL_TEST_AUDIT_WRITER";

fn entry(writer: u64, number: u64) -> Draft {
    Draft::new("test.record", Severity::Info).with("writer", writer).with("number", number)
}

/// Every record exists once, in order of its number, and each writer's records are in the order it wrote them.
fn check(dir: &Path, writers: u64) {
    let records: Vec<LogEntry> = read(dir, Filter::default()).unwrap().map(Result::unwrap).collect();
    assert!(records.iter().map(|record| record.seq).eq(0..writers * RECORDS));
    for writer in 0..writers {
        let own = records.iter().filter(|record| record.data["writer"] == writer);
        assert!(own.map(|record| record.data["number"].as_u64().unwrap()).eq(0..RECORDS));
    }
}

/// A8 within one process.
#[test]
fn threads_share_a_log() {
    let sample = Sample::empty();
    let log = sample.open();
    thread::scope(|scope| {
        for writer in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for number in 0..RECORDS {
                    let range = log.put_with(&[entry(writer, number)], Durability::Buffered).unwrap();
                    assert_eq!(range.end - range.start, 1);
                    if number % 50 == 0 {
                        log.checkpoint().unwrap();
                    }
                }
            });
        }
    });
    log.checkpoint().unwrap();
    check(&sample.dir, THREADS);
    assert_eq!(sample.verify().problems, []);
}

/// A8 across processes: runs this test binary again.
#[test]
fn processes_share_a_log() {
    let sample = Sample::empty();
    let start = |writer: u64| -> Child {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "audit::writers::a_process_that_writes", "--ignored", "--nocapture"])
            .env(FOLDER, &sample.dir)
            .env("TL_TEST_AUDIT_NUMBER", writer.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    // Covers the first use too: none of them finds a log.
    let children: Vec<Child> = (0..PROCESSES).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    check(&sample.dir, PROCESSES);
    let report = sample.verify();
    assert_eq!((report.problems.as_slice(), report.unsigned_tail), (&[][..], 0));
    println!("{PROCESSES} processes wrote {RECORDS} records each");
}

#[test]
#[ignore = "it is started by `processes_share_a_log`"]
fn a_process_that_writes() {
    let Some(dir) = env::var_os(FOLDER) else { return };
    let writer: u64 = env::var("TL_TEST_AUDIT_NUMBER").unwrap().parse().unwrap();
    let log = Log::open(Path::new(&dir)).unwrap();
    for number in 0..RECORDS {
        log.put(&[entry(writer, number)]).unwrap();
        if number % 30 == 0 {
            log.checkpoint().unwrap();
        }
    }
    log.checkpoint().unwrap();
}

/// Two handles in one process exclude each other as two processes do, and each sees the other's writes.
#[test]
fn two_handles_take_turns() {
    let sample = Sample::empty();
    let (one, two) = (sample.open(), sample.open());
    for number in 0..20 {
        let log = if number % 2 == 0 { &one } else { &two };
        assert_eq!(log.put(&[entry(0, number)]).unwrap(), number..number + 1);
        if number % 3 == 0 {
            assert_eq!(log.checkpoint().unwrap().size, number + 1);
        }
    }
    assert_eq!(one.checkpoint().unwrap(), two.checkpoint().unwrap());
    assert_eq!(sample.verify().problems, []);
}

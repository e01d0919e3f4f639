//! The wall clock jumps a day ahead and back while a run is active. No decision of the run changes.

use std::process::Command;

use serde_json::Value as Json;

use super::sample::{delivered, lay_out};
use crate::support::{Ended, Tl, ended, events, outcomes, preloaded, wait_for};

/// The program with a clock that jumps after every `steps` readings.
fn jumping(tl: &Tl, steps: usize, arguments: &[&str]) -> Command {
    let mut command = tl.command(arguments);
    command.env("LD_PRELOAD", preloaded("clock")).env("TL_CLOCK_STEPS", steps.to_string());
    command
}

const RUN: [&str; 4] = ["run", "p.yaml", "--reporter", "json"];

/// Whether the times of the events really jumped.
fn has_jumped(events: &[Json]) -> bool {
    let days: std::collections::BTreeSet<&str> =
        events.iter().map(|event| &event["ts"].as_str().unwrap()[..10]).collect();
    days.len() > 1
}

#[test]
fn a_run_comes_to_the_same_and_its_order_stays_on_record() {
    for steps in [1, 2, 3, 5, 8, 13, 21] {
        let tl = lay_out();
        let told = ended(&mut jumping(&tl, steps, &RUN));
        let events = events(&told.stdout);
        assert_eq!(told.code, 0, "{steps}: {told:?}");
        assert!(has_jumped(&events) && events.iter().all(|event| event["event"] != "stage-retrying"), "{steps}");
        delivered(&tl, events[0]["run"].as_str().unwrap()).unwrap();
        tl.ok(&["audit", "verify"]);
        let jumps = tl.ok(&["audit", "show", "--type", "clock.jump"]).stdout;
        assert!(!jumps.is_empty(), "{steps}: a clock that was put back is on record");
    }
}

#[test]
fn limits_and_waits_are_of_time_that_passes() {
    let tl = Tl::new();
    // A jump of a day would exceed these limits at once, and would end these waits or stretch them to a day.
    tl.pipeline(
        "timeout: 2h\nconcurrency: { group: g, wait: 1h }\nstages:\n  a: { timeout: 1h, run: 'sleep 0.3', shell: sh }\n  b: { retry: { attempts: \
         3, delay: 200ms, exit-codes: [9] }, shell: sh, run: 'echo x >> tries; test $(wc -l < tries) -ge 3 || exit 9' }\n  c: { timeout: \
         300ms, run: [sleep, '1000'], continue-on-error: true }\n",
    );
    let told = ended(&mut jumping(&tl, 2, &RUN));
    let events = events(&told.stdout);
    assert_eq!(told.code, 3, "{told:?}");
    assert!(has_jumped(&events));
    assert_eq!(outcomes(&events), crate::support::pairs(&[("a", "success"), ("b", "success"), ("c", "warning")]));
    assert_eq!(events.iter().filter(|event| event["event"] == "stage-retrying").count(), 2);
    for event in events.iter().filter(|event| event["event"] == "stage-ended") {
        assert!(event["seconds"].as_f64().unwrap() < 3_600.0, "{event}");
    }
}

#[test]
fn messages_go_out_and_what_is_at_work_stays() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a: { shell: sh, run: 'touch began; while [ ! -e go ]; do sleep 0.02; done' }\nnotify:\n  - { when: [started, success], to: [log] \
         }\n",
    );
    let mut run = jumping(&tl, 3, &RUN).stdout(std::process::Stdio::null()).spawn().unwrap();
    crate::support::wait_for(|| tl.file("began").exists());
    for steps in [1, 2, 3] {
        assert_eq!(ended(&mut jumping(&tl, steps, &["gc", "--runs", "1h", "--logs", "1h"])).code, 0);
    }
    tl.write("go", "");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let id = tl.last_run();
    let shown: Json = serde_json::from_str(&tl.ok(&["show", &id, "--json"]).stdout).unwrap();
    assert_eq!((&shown["outcome"], shown["stages"].as_array().unwrap().len()), (&"success".into(), 1));
    let log = tl.read("log.jsonl");
    let told: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let whens: Vec<&str> = told.iter().map(|message| message["when"].as_str().unwrap()).collect();
    assert_eq!(whens, ["started", "success"]);
}

/// A run that was interrupted while the clock was a day ahead or behind can be resumed.
#[test]
fn a_run_goes_on_whenever_it_was_interrupted() {
    for steps in [1, 4, 1_000] {
        let tl = lay_out();
        tl.write(
            "p.yaml",
            tl.read("p.yaml").replace("finally:", "  last: { needs: prove, run: [test, -e, go] }\nfinally:"),
        );
        assert_eq!(ended(&mut jumping(&tl, steps, &RUN)).code, 1);
        tl.write("go", "");
        let next = ended(&mut jumping(&tl, steps + 1, &["run", "--resume", "--reporter", "json"]));
        let events = events(&next.stdout);
        assert_eq!(next.code, 0, "{steps}: {next:?}");
        let fresh = events.iter().filter(|event| event["event"] == "stage-ended" && event["recalled"] != true);
        let mut fresh: Vec<&str> = fresh.filter_map(|event| event["stage"].as_str()).collect();
        // The matrix stage itself is neither done nor recalled.
        fresh.retain(|stage| *stage != "two");
        assert_eq!(fresh, ["prove", "last", "always"], "{steps}");
        delivered(&tl, events[0]["run"].as_str().unwrap()).unwrap();
    }
}

/// The program in Berlin, with a clock that goes by the file `shift`.
fn in_berlin(tl: &Tl, arguments: &[&str]) -> Ended {
    let mut command = tl.command(arguments);
    command.env("LD_PRELOAD", preloaded("clock")).env("TL_CLOCK_FILE", tl.file("shift")).env("TZ", "Europe/Berlin");
    ended(&mut command)
}

/// How many seconds a clock has to be put forward to show `time`.
fn shift_to(time: &str) -> String {
    let time: jiff::Timestamp = time.parse().unwrap();
    (time.as_second() - jiff::Timestamp::now().as_second()).to_string()
}

/// A run over a change of the clock of its zone, over a leap day and over a clock that is put back. Its date is that of its start, its
/// durations are those that passed, and its records keep their order.
#[test]
fn a_run_has_one_date_and_takes_the_time_that_passed() {
    for (start, then, date) in [
        // Into summer time, and out of it.
        ("2026-03-29T00:59:50Z", "2026-03-29T01:00:10Z", "2026-03-29 01-59"),
        ("2026-10-25T00:59:50Z", "2026-10-25T01:00:10Z", "2026-10-25 02-59"),
        ("2028-02-28T22:59:50Z", "2028-02-29T00:30:00Z", "2028-02-28 23-59"),
        ("2028-02-29T22:59:50Z", "2028-03-01T00:30:00Z", "2028-02-29 23-59"),
        // Put back by a year and a day, and forward by as much.
        ("2026-12-01T08:00:00Z", "2025-11-30T08:00:00Z", "2026-12-01 09-00"),
        ("2026-12-01T08:00:00Z", "2027-12-02T08:00:00Z", "2026-12-01 09-00"),
    ] {
        let tl = Tl::new();
        tl.write("data/a", "x").write("shift", shift_to(start)).write("then", shift_to(then)).pipeline(
            "schedule: '0 3 * * *'\nexpect: { success-every: 1d }\nstages:\n  before: { run: [echo, '${{ run.date }} ${{ run.time }}'] }\n  \
             jump: { needs: before, run: [cp, then, shift] }\n  after: { needs: jump, run: [echo, '${{ run.date }} ${{ run.time }}'] }\n  \
             collect: { needs: after, uses: archive, with: { sources: [data] } }\n  deliver: { needs: collect, uses: upload, with: { \
             artifact: '${{ needs.collect.outputs.artifact }}', store: shelf, key: '${{ run.date }}/a.tar' } }\n",
        );
        let told = in_berlin(&tl, &RUN);
        assert_eq!(told.code, 0, "{start}: {told:?}");
        let events = events(&told.stdout);
        let said =
            events.iter().filter(|event| event["event"] == "stage-output").map(|event| event["line"].as_str().unwrap());
        let said: Vec<&str> = said.collect();
        assert!(said.len() == 2 && said[0] == said[1] && said[0].starts_with(date), "{start}: {said:?}");
        assert!(tl.file(&format!("shelf/{}/a.tar", &date[..10])).exists(), "{start}");
        for event in events.iter().filter(|event| event["seconds"].is_number()) {
            assert!((0.0..60.0).contains(&event["seconds"].as_f64().unwrap()), "{start}: {event}");
        }
        // What is asked later speaks of the same times.
        let id = events[0]["run"].as_str().unwrap();
        for command in [&["show", id, "--json"][..], &["stats", "--json"], &["history", "--json"]] {
            let shown = in_berlin(&tl, command);
            assert!(shown.code == 0 && !shown.stdout.contains("seconds\": -"), "{start}: {shown:?}");
        }
        tl.ok(&["audit", "verify"]);
        let records = tl.ok(&["audit", "show", "--json"]).stdout;
        let numbers: Vec<u64> =
            records.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["seq"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted() && !numbers.is_empty());
    }
}

/// The hour that comes twice gives two runs one time: the second object does not replace the first.
#[test]
fn the_hour_that_comes_twice_replaces_nothing() {
    let tl = Tl::new();
    tl.write("data/a", "first").pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [data] } }\n  deliver: { needs: collect, uses: upload, with: { artifact: \
         '${{ needs.collect.outputs.artifact }}', store: shelf, key: '${{ run.date }}.${{ run.time }}.tar' } }\n",
    );
    let run = |time: &str| {
        // From the beginning of a second, so that the run begins in it.
        wait_for(|| jiff::Timestamp::now().subsec_millisecond() < 100);
        tl.write("shift", shift_to(time));
        in_berlin(&tl, &RUN)
    };
    let first = run("2026-10-25T00:30:00Z");
    assert_eq!(first.code, 0, "{first:?}");
    let object = tl.file("shelf/2026-10-25.02-30-00.tar");
    let kept = std::fs::read(&object).unwrap();
    tl.write("data/a", "second");
    let second = run("2026-10-25T01:30:00Z");
    assert!(second.code == 1 && second.stdout.contains("TL0632"), "{second:?}");
    assert_eq!(std::fs::read(&object).unwrap(), kept);
}

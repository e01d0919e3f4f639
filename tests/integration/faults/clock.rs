//! The wall clock jumps a day ahead and back while a run is active. No decision of the run changes.

use std::process::Command;

use serde_json::Value as Json;

use super::sample::{delivered, lay_out};
use crate::support::{Tl, ended, events, outcomes, preloaded};

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

//! Runs of one group in separate processes: one at a time.

use std::io::Read;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ended, Tl};

/// Waits for a process to end.
fn end(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// A pipeline of a group. Its only stage waits until `go` exists.
fn grouped(concurrency: &str) -> Tl {
    let tl = Tl::new();
    tl.write("slow.yaml", pipeline(concurrency, "while [ ! -e go ]; do sleep 0.05; done"));
    tl.write("quick.yaml", pipeline(concurrency, "true"));
    tl
}

fn pipeline(concurrency: &str, script: &str) -> String {
    format!(
        "version: 1\nname: orders\nconcurrency: {concurrency}\nstages:\n  work: {{ run: \"{script}\", shell: sh, timeout: 1m }}\n"
    )
}

/// Waits until the other run has started its stage.
fn until_busy(tl: &Tl) {
    let started = Instant::now();
    let is_at_work = || tl.run(&["audit", "show", "--type", "stage.started"]).stdout.contains("work");
    while !is_at_work() {
        assert!(started.elapsed() < Duration::from_mins(1), "the first run did not start");
        sleep(Duration::from_millis(50));
    }
}

/// Waits until a run reports that it waits for another one.
fn until_it_waits(run: &mut Child) {
    let output = run.stdout.as_mut().unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"waiting for it") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).unwrap(), 1, "it did not wait: {}", String::from_utf8_lossy(&said));
        said.extend(byte);
    }
}

fn second(tl: &Tl) -> Ended {
    tl.run(&["run", "quick.yaml"])
}

#[test]
fn a_busy_group_is_skipped_refused_or_waited_for() {
    let tl = grouped("{ group: g, if-busy: skip }");
    let first = tl.start(&["run", "slow.yaml"]);
    until_busy(&tl);
    let skipped = second(&tl);
    assert_eq!(skipped.code, 75, "{skipped:?}");
    assert!(skipped.stdout.contains("another run of the group `g` is at work"), "{skipped:?}");
    assert!(skipped.stdout.contains("process "), "it says who: {skipped:?}");
    let records = tl.run(&["audit", "show", "--type", "run.finished", "--json"]).stdout;
    assert!(records.contains("\"outcome\":\"skipped\""), "{records}");

    tl.write("quick.yaml", pipeline("{ group: g, if-busy: fail }", "true"));
    let refused = second(&tl);
    assert_eq!(refused.code, 11, "{refused:?}");
    assert!(refused.stdout.contains("error[TL0722]"), "{refused:?}");

    tl.write("quick.yaml", pipeline("{ group: g, wait: 300ms }", "true"));
    let tired = second(&tl);
    assert_eq!(tired.code, 11, "{tired:?}");

    // Another group is not blocked.
    tl.write("quick.yaml", pipeline("{ group: h, if-busy: fail }", "true"));
    assert_eq!(second(&tl).code, 0);

    tl.write("quick.yaml", pipeline("{ group: g }", "true"));
    let mut waiting = tl.start(&["run", "quick.yaml"]);
    until_it_waits(&mut waiting);
    tl.write("go", "");
    assert_eq!(end(first).code, 0);
    let waited = end(waiting);
    assert_eq!(waited.code, 0, "{waited:?}");
}

#[test]
fn a_run_that_waits_can_be_cancelled_and_a_killed_one_leaves_no_lock() {
    let tl = grouped("{ group: g }");
    let first = tl.start(&["run", "slow.yaml"]);
    until_busy(&tl);
    let mut waiting = tl.start(&["run", "quick.yaml"]);
    until_it_waits(&mut waiting);
    send(&waiting, Signal::INT);
    let cancelled = end(waiting);
    assert_eq!(cancelled.code, 130, "{cancelled:?}");

    send(&first, Signal::KILL);
    assert_eq!(end(first).code, -1);
    tl.write("quick.yaml", pipeline("{ group: g, if-busy: fail }", "true"));
    // The lock is free when the programs of the killed one have ended.
    crate::support::wait_for(|| second(&tl).code == 0);
    tl.write("go", "");
}

#[test]
fn a_group_may_have_an_input_in_its_name() {
    let tl = Tl::new();
    let text = "version: 1\nname: orders\ninputs: { place: { type: string } }\nconcurrency: { group: \"at-${{ inputs.place }}\", \
                if-busy: fail }\nstages:\n  work: { run: \"[ $PLACE = b ] || while [ ! -e go ]; do sleep 0.05; done\", shell: sh, \
                env: { PLACE: \"${{ inputs.place }}\" }, timeout: 1m }\n";
    tl.write("p.yaml", text);
    let first = tl.start(&["run", "p.yaml", "--input", "place=a"]);
    until_busy(&tl);
    assert_eq!(tl.run(&["run", "p.yaml", "--input", "place=b"]).code, 0);
    assert_eq!(tl.run(&["run", "p.yaml", "--input", "place=a"]).code, 11);
    tl.write("go", "");
    assert_eq!(end(first).code, 0);
}

#[test]
fn a_stage_for_other_hosts_is_read_and_not_run() {
    let tl = Tl::new();
    tl.write("p.yaml", "version: 1\nname: orders\nstages:\n  work: { run: [touch, done], runs-on: database }\n");
    assert_eq!(tl.run(&["validate", "p.yaml"]).code, 0);
    let refused = tl.run(&["run", "p.yaml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("error[TL0105]") && refused.stderr.contains("p.yaml:4:31"), "{refused:?}");
    assert!(!tl.file("done").exists());
}

#[test]
fn a_run_that_waits_is_shown_as_waiting() {
    let tl = grouped("{ group: g }");
    let first = tl.start(&["run", "slow.yaml"]);
    until_busy(&tl);
    let mut second = tl.start(&["run", "quick.yaml"]);
    until_it_waits(&mut second);
    let status = || tl.ok(&["status"]).stdout;
    crate::support::wait_for(|| status().contains("orders  waiting for "));
    assert!(status().contains("another run of its group g is at work"), "{}", status());
    assert!(status().contains("orders  running for "), "{}", status());
    tl.write("go", "");
    assert_eq!((end(first).code, end(second).code), (0, 0));
    assert!(!tl.ok(&["history"]).stdout.contains("waiting"));
}

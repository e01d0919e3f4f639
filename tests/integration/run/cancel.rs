//! `tl cancel`: cancels a run from another terminal, in order.

use std::fs;
use std::process::Child;

use serde_json::Value as Json;

use crate::support::{Tl, collected, wait_for};

/// Starts a pipeline with these stages and waits until one of them has created `began`. Returns the run's id.
fn start(tl: &Tl, stages: &str) -> (Child, String) {
    tl.pipeline(stages);
    let run = tl.start(&["run", "p.yaml"]);
    wait_for(|| tl.file("began").exists());
    (run, tl.last_run())
}

const PATIENT: &str =
    "stages:\n  a: { shell: sh, run: 'touch began; sleep 60 & wait' }\nfinally:\n  f: { run: [touch, last] }\n";

#[test]
fn a_run_is_ended_in_order_from_another_terminal() {
    let tl = Tl::new();
    for word in [|id: &str| id.to_owned(), |id: &str| id[20..].to_lowercase(), |id: &str| id[..22].to_owned()] {
        let (run, id) = start(&tl, PATIENT);
        let asked = tl.ok(&["cancel", &word(&id)]);
        assert_eq!(asked.stdout, format!("{id} (test) ended: cancelled\n"));
        assert_eq!(collected(run).code, 130);
        assert!(tl.file("last").exists());
        for name in ["began", "last"] {
            fs::remove_file(tl.file(name)).unwrap();
        }
        let again = tl.run(&["cancel", &id]);
        assert!(again.code == 1 && again.stderr.contains("TL0752") && again.stderr.contains("cancelled"), "{again:?}");
    }
}

#[test]
fn it_is_said_as_json_and_need_not_be_waited_for() {
    let tl = Tl::new();
    let (run, id) = start(&tl, PATIENT);
    let asked: Json = serde_json::from_str(&tl.ok(&["cancel", &id, "--no-wait", "--json"]).stdout).unwrap();
    assert_eq!((&asked["run"], &asked["pipeline"]), (&Json::from(id), &Json::from("test")));
    assert_eq!(collected(run).code, 130);
}

#[test]
fn a_run_that_takes_its_time_is_told() {
    let tl = Tl::new();
    let slow =
        "stages:\n  a: { shell: sh, run: \"trap '' TERM; touch began; while [ ! -e enough ]; do sleep 0.1; done\" }\n";
    let (run, id) = start(&tl, slow);
    let late = tl.run(&["cancel", &id, "--wait", "200ms"]);
    assert!(late.code == 1 && late.stderr.contains("TL0754"), "{late:?}");
    tl.write("enough", "");
    assert_eq!(collected(run).code, 130);
}

#[test]
fn what_does_not_run_is_not_cancelled() {
    let tl = Tl::new();
    let refused = |word: &str, code: u8, error: &str| {
        let ended = tl.run(&["cancel", word]);
        assert!(ended.code == i32::from(code) && ended.stderr.contains(error), "{word}: {ended:?}");
        assert_eq!(ended.stdout, "");
    };
    refused("01ARZ3NDEKTSV4RRFFQ69G5FAV", 2, "TL0760");
    let (mut run, id) = start(&tl, PATIENT);
    run.kill().unwrap();
    run.wait().unwrap();
    refused(&id, 1, "TL0752");
    refused("01ARZ3NDEKTSV4RRFFQ69G5FAV", 2, "TL0760");
    refused("01", 2, "TL0761");
    fs::remove_file(tl.file("began")).unwrap();
    let (run, other) = start(&tl, PATIENT);
    let shared = id.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    refused(&id[..shared], 2, "TL0761");
    tl.ok(&["cancel", &other]);
    assert_eq!(collected(run).code, 130);
}

/// The program of a secret may wait for somebody. The run is seen and can be ended meanwhile.
#[test]
fn a_run_that_still_reads_its_secrets_is_seen_and_ended() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets: { key: { from: command, run: [sh, -c, 'touch began; sleep 60'], timeout: 10m } }\ninputs: { who: { type: string } }\n\
         stages:\n  a: { env: { K: '${{ secrets.key }}' }, run: ['true'] }\n",
    );
    let run = tl.start(&["run", "p.yaml", "--input", "who=ana"]);
    wait_for(|| tl.file("began").exists());
    let status: Json = serde_json::from_str(&tl.ok(&["status", "--json"]).stdout).unwrap();
    let status = &status["runs"][0];
    let id = status["run"].as_str().unwrap();
    assert_eq!(status["life"], "running");
    tl.ok(&["cancel", id]);
    assert_eq!(collected(run).code, 130);
    // Its inputs may hold the secret that was never read, so they were not kept.
    let refused = tl.run(&["run", "--resume", id]);
    assert!(
        refused.code == 2 && refused.stderr.contains("TL0781") && refused.stderr.contains("were not kept"),
        "{refused:?}"
    );
}

/// The second Ctrl-C ends all at once, and the record says how the run ended.
#[test]
fn a_run_that_is_ended_at_once_leaves_its_end() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { run: \"trap '' TERM; touch started; sleep 1000\", shell: sh }\n");
    let mut run = tl.start(&["run", "p.yaml"]);
    wait_for(|| tl.file("started").exists());
    let pid = rustix::process::Pid::from_child(&run);
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    assert_eq!(run.wait().unwrap().code(), Some(130));
    tl.ok(&["audit", "verify"]);
    let ends = tl.ok(&["audit", "show", "--type", "run.finished", "--json"]).stdout;
    assert!(ends.lines().count() == 1 && ends.contains("\"cancelled\""), "{ends}");
    let id = tl.last_run();
    let shown: serde_json::Value = serde_json::from_str(&tl.ok(&["show", &id, "--json"]).stdout).unwrap();
    assert_eq!((&shown["outcome"], &shown["exit_code"]), (&"cancelled".into(), &130.into()));
    tl.pipeline("stages:\n  a: { run: ['true'] }\n").ok(&["run", "--resume"]);
}

/// What a program started in a session of its own ends with it, also where it ignores TERM.
#[test]
fn what_left_its_group_ends_with_an_ordered_cancel() {
    for script in ["sleep 1000", "trap '' TERM; sleep 1000"] {
        let tl = Tl::new();
        tl.write("daemon.sh", format!("echo $$ > pid.tmp; mv pid.tmp pid; {script}\n"));
        tl.pipeline("stages:\n  a: { run: \"setsid sh daemon.sh & sleep 1000\", shell: sh }\n");
        let mut run = tl.start(&["run", "p.yaml"]);
        wait_for(|| tl.file("pid").exists());
        rustix::process::kill_process(rustix::process::Pid::from_child(&run), rustix::process::Signal::INT).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(130));
        let pid = tl.read("pid").trim().to_owned();
        // A child of init may be a zombie for a moment.
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z"), "{script}: {state}");
    }
}

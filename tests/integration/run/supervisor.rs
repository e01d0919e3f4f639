//! Whatever happens to `tl`, no program that it started survives.

use std::fs;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Process, Tl, collected, in_session, left, processes, signal, wait_for};

/// Ignores TERM. Starts one process that leaves its group and ignores TERM too, and one without an environment.
const STUBBORN: &str = "trap '' TERM; setsid sh -c 'trap \"\" TERM; touch apart; while :; do sleep 0.1; done' & env -i sleep 1000 & \
                        touch began; while :; do sleep 0.1; done";

fn supervisors(run: &Child) -> Vec<i32> {
    let session = i32::try_from(run.id()).unwrap();
    let is_one = |process: &Process| process.session == session && process.is_supervisor;
    processes().into_iter().filter(is_one).map(|process| process.id).collect()
}

fn kill(id: i32) {
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
}

fn stage(name: &str, script: &str) -> String {
    format!("  {name}:\n    shell: sh\n    run: |\n      {script}\n")
}

fn start(tl: &Tl) -> Child {
    in_session(tl, &tl.command(&["run", "p.yaml"])).spawn().unwrap()
}

fn end(run: &mut Child) {
    run.kill().unwrap();
    run.wait().unwrap();
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_no_process() {
    const SEED: u64 = 4_711;
    let mut moments = fastrand::Rng::with_seed(SEED);
    let runs: Vec<(Tl, Child, u64)> = (0..24)
        .map(|number| {
            let tl = Tl::new();
            tl.pipeline(&format!("stages:\n{}{}", stage("a", "true"), stage("b", STUBBORN)));
            // Kills the first ones right at the start.
            let moment = if number < 4 { number } else { moments.u64(0..500) };
            let mut run = start(&tl);
            std::thread::sleep(Duration::from_millis(moment));
            end(&mut run);
            (tl, run, moment)
        })
        .collect();
    let began = runs.iter().filter(|(tl, ..)| tl.file("began").exists()).count();
    assert!(began > 0 && began < runs.len(), "seed {SEED}: {began} of {} had begun", runs.len());
    for (tl, run, moment) in &runs {
        wait_for(|| left(tl, run).is_empty());
        assert!(supervisors(run).is_empty(), "seed {SEED}, killed after {moment} ms");
    }
}

#[test]
fn what_a_run_leaves_on_purpose_stays() {
    let tl = Tl::new();
    let daemon = "setsid sh -c 'echo $$ > daemon; exec sleep 1000' > /dev/null 2>&1 < /dev/null &\n      \
                  (sleep 1000 > /dev/null 2>&1 < /dev/null &)\n      while [ ! -s daemon ]; do sleep 0.01; done";
    tl.pipeline(&format!("stages:\n{}", stage("a", daemon)));
    let run = start(&tl);
    wait_for(|| tl.file("daemon").exists() && !tl.read("daemon").is_empty());
    let id = run.id();
    assert_eq!(collected(run).code, 0);
    let session = i32::try_from(id).unwrap();
    assert!(!processes().iter().any(|process| process.session == session && process.is_supervisor));
    let ours = || processes().into_iter().filter(|process| process.folder.as_deref() == Some(tl.path()));
    assert_eq!(ours().count(), 2, "the daemon, and what was put into the background");
    ours().for_each(|process| kill(process.id));
    wait_for(|| ours().count() == 0);

    // It also survives when tl is killed in a later stage.
    fs::remove_file(tl.file("daemon")).unwrap();
    tl.pipeline(&format!(
        "stages:\n{}  b: {{ needs: a, shell: sh, run: 'echo $$ > later; exec sleep 1000' }}\n",
        stage("a", daemon)
    ));
    let mut run = start(&tl);
    wait_for(|| tl.file("later").exists() && !tl.read("later").is_empty());
    end(&mut run);
    let later: i32 = tl.read("later").trim().parse().unwrap();
    wait_for(|| supervisors(&run).is_empty());
    assert!(!processes().iter().any(|process| process.id == later));
    assert_eq!(ours().count(), 2);
    ours().for_each(|process| kill(process.id));
}

#[test]
fn two_signals_end_all_of_it_at_once() {
    let tl = Tl::new();
    tl.pipeline(&format!("stages:\n{}", stage("a", STUBBORN)));
    let mut run = start(&tl);
    wait_for(|| tl.file("apart").exists() && tl.file("began").exists());
    signal(&run, Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    signal(&run, Signal::INT);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    // A helper process ends those that left the group of their program, a moment later.
    wait_for(|| left(&tl, &run).is_empty());
    let ends = tl.ok(&["audit", "show", "--type", "run.finished"]).stdout;
    assert!(ends.lines().count() == 1 && ends.contains("cancelled"), "{ends}");
}

/// Whether a process catches or ignores HUP, INT and TERM (proc(5): bits 0, 1 and 14).
fn is_deaf(process: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let masks = status.lines().filter_map(|line| line.strip_prefix("SigCgt:").or(line.strip_prefix("SigIgn:")));
    let deaf = masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).fold(0, |all, mask| all | mask);
    deaf & 0x4003 == 0x4003
}

#[test]
fn a_supervisor_that_is_killed_is_replaced() {
    let tl = Tl::new();
    tl.pipeline(&format!("stages:\n{}", stage("a", STUBBORN)));
    let mut run = start(&tl);
    wait_for(|| tl.file("apart").exists() && tl.file("began").exists());
    for _ in 0..3 {
        let before = supervisors(&run);
        assert_eq!(before.len(), 1);
        // Once it is running, signals that stop other programs do not stop it.
        wait_for(|| is_deaf(before[0]));
        for deaf in [Signal::TERM, Signal::INT, Signal::HUP] {
            kill_process(Pid::from_raw(before[0]).unwrap(), deaf).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(supervisors(&run), before);
        kill(before[0]);
        wait_for(|| {
            let now = supervisors(&run);
            !now.is_empty() && now != before
        });
    }
    // The new supervisor needs a moment to learn about the processes.
    std::thread::sleep(Duration::from_millis(300));
    end(&mut run);
    wait_for(|| left(&tl, &run).is_empty());
}

#[test]
fn a_run_goes_on_whatever_becomes_of_its_supervisors() {
    let tl = Tl::new();
    let stages: String = (0..40).map(|number| format!("  s{number}: {{ run: [sleep, '0.02'] }}\n")).collect();
    tl.pipeline(&format!("max-parallel: 1\nstages:\n{stages}"));
    let mut run = start(&tl);
    let mut ended = 0;
    while run.try_wait().unwrap().is_none() {
        for id in supervisors(&run) {
            ended += usize::from(kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).is_ok());
        }
    }
    let code = run.wait().unwrap().code();
    assert!(code == Some(0) && ended > 3, "exit code {code:?} after {ended} supervisors");
    wait_for(|| left(&tl, &run).is_empty());
}

#[test]
fn programs_of_secrets_and_channels_are_supervised_too() {
    let tl = Tl::new();
    tl.write("hang.sh", "setsid sh -c 'touch apart; sleep 1000; :' & touch began; sleep 1000; :\n");
    for rest in [
        "secrets: { s: { from: command, run: [sh, hang.sh], timeout: 5m } }\nstages:\n  a: { env: { S: '${{ secrets.s }}' }, run: ['true'] }\n",
        "  bell: { uses: command, with: { run: [sh, hang.sh] } }\nstages:\n  a: { run: ['true'] }\nnotify:\n  - { when: [success], to: \
         [bell] }\n",
    ] {
        tl.pipeline(rest);
        let mut run = start(&tl);
        wait_for(|| tl.file("apart").exists() && tl.file("began").exists());
        end(&mut run);
        wait_for(|| left(&tl, &run).is_empty());
        fs::remove_file(tl.file("apart")).unwrap();
        fs::remove_file(tl.file("began")).unwrap();
    }
}

#[test]
fn nobody_is_offered_to_be_a_supervisor() {
    let tl = Tl::new();
    let help = tl.ok(&["--help"]).stdout + &tl.ok(&["completions", "bash"]).stdout + &tl.ok(&["man"]).stdout;
    assert!(!help.contains("supervise"), "{help}");
    assert_eq!(tl.run(&["supervise"]).code, 2);
}

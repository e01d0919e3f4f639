//! Rules for every program that `tl` starts, whether for a stage, a secret, a channel or git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use timelocker::process::{Failure, Line, Program};
use timelocker::value::{Cancel, CancelReason, Masker, Secret};

use crate::support::{Tl, collected, group_ended, in_session, kill, left, wait_for};

/// Ignores TERM, starts another such process in a new session, and never ends.
const STUBBORN: &str = "trap '' TERM\nsetsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' &\n\
                        echo $$ > half && mv half group\nwhile :; do sleep 0.1; done";

fn script(tl: &Tl, name: &str, text: &str) {
    tl.write(name, format!("#!/bin/sh\ncd '{}'\n{text}\n", tl.path().display()));
    fs::set_permissions(tl.file(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Starts `tl run` in a new session, with the scripts of the folder `bin` first in `PATH`.
fn start(tl: &Tl) -> Child {
    let path = format!("{}:{}", tl.file("bin").display(), std::env::var("PATH").unwrap());
    let mut command = tl.command(&["run", "p.yaml"]);
    command.env("PATH", path);
    in_session(tl, &command).spawn().unwrap()
}

const GIT: &str = "stages:\n  a: { run: [echo, \"${{ git.commit }}\"] }\n";
const SECRET: &str = "secrets: { key: { from: command, run: [./hangs], timeout: 10m } }\n\
                      stages:\n  a: { run: [\"true\"], env: { K: \"${{ secrets.key }}\" } }\n";
const CHANNEL: &str = "  page: { uses: command, with: { run: [./hangs] } }\nnotify: [{ when: [success], to: [page] }]\n\
                       stages:\n  a: { run: [\"true\"] }\n";
const STAGE: &str = "stages:\n  a: { run: [./hangs] }\n";

#[test]
fn no_program_survives_a_kill_of_tl() {
    let runs: Vec<(&str, Tl, Child)> = [("git", GIT), ("secret", SECRET), ("channel", CHANNEL), ("stage", STAGE)]
        .into_iter()
        .map(|(what, pipeline)| {
            let tl = Tl::new();
            tl.pipeline(pipeline);
            script(&tl, if what == "git" { "bin/git" } else { "hangs" }, STUBBORN);
            let run = start(&tl);
            (what, tl, run)
        })
        .collect();
    for (what, tl, mut run) in runs {
        wait_for(|| tl.file("group").exists());
        assert!(left(&tl, &run).len() > 2, "{what}");
        kill(&mut run);
        wait_for(|| left(&tl, &run).is_empty());
    }
}

#[test]
fn a_git_that_hangs_is_killed_with_its_group_at_its_limit() {
    let tl = Tl::new();
    tl.pipeline(GIT);
    script(&tl, "bin/git", STUBBORN.replace("setsid ", "").as_str());
    let begun = Instant::now();
    let ended = collected(start(&tl));
    assert!(ended.code == 2 && ended.stderr.contains("TL0319") && ended.stderr.contains("within 30s"), "{ended:?}");
    assert!(begun.elapsed() >= Duration::from_secs(30));
    group_ended(&tl);
}

#[test]
fn a_channel_that_hangs_is_killed_with_its_group_at_its_limit() {
    let tl = Tl::new();
    tl.pipeline(CHANNEL);
    script(&tl, "hangs", STUBBORN.replace("setsid ", "").as_str());
    let ended = collected(start(&tl));
    assert!(ended.code == 0 && format!("{ended:?}").contains("ran longer than 30 seconds"), "{ended:?}");
    group_ended(&tl);
}

fn sh(text: &str) -> Program {
    Program::new("sh", ["-c", text])
}

#[test]
fn a_secret_on_a_descriptor_is_in_no_argument_and_no_environment() {
    let secret = "s3cr3t-on-descriptor-0";
    // The shell prints its own environment and arguments. It prints its input only after the marker.
    let text = "cat /proc/$$/environ /proc/$$/cmdline | tr '\\0' '\\n'; echo; echo ---; cat";
    let ended = sh(text).input(Secret::new(secret.to_owned())).capture(1 << 16, &Cancel::default()).unwrap();
    let printed = String::from_utf8(ended.stdout.to_vec()).unwrap();
    let (seen, read) = printed.split_once("---\n").unwrap();
    assert!(seen.contains("PATH=") && seen.contains("tr '") && !seen.contains(secret), "{seen}");
    assert_eq!(read, secret);
    // The same check finds a secret in the environment, so the test can fail.
    let ended = sh(text).env("KEY", secret).capture(1 << 16, &Cancel::default()).unwrap();
    assert!(String::from_utf8_lossy(&ended.stdout).contains(secret));
}

#[test]
fn a_program_gets_no_other_variable_than_those_of_the_list() {
    let ended = Program::new("env", [""; 0]).env("OWN", "1").capture(1 << 16, &Cancel::default()).unwrap();
    let printed = String::from_utf8(ended.stdout.to_vec()).unwrap();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "this process has more");
    for line in printed.lines() {
        let name = line.split('=').next().unwrap();
        assert!(["PATH", "HOME", "TZ", "LANG", "TMPDIR", "OWN"].contains(&name), "{line}");
    }
    assert!(printed.contains("OWN=1") && printed.contains("PATH="));
}

#[test]
fn what_is_kept_of_the_output_is_bounded() {
    let never = Cancel::default();
    let ended = sh("yes x").limit(Duration::from_mins(1)).capture(1000, &never).unwrap();
    assert!(ended.is_cut && ended.stdout.len() == 1000 && !ended.status.success(), "{ended:?}");
    let ended = sh("printf 12345").capture(5, &never).unwrap();
    assert!(!ended.is_cut && *ended.stdout == b"12345" && ended.status.success());
    // A program that prints a long error is not blocked by that, and its last lines are shown.
    let ended =
        sh("yes long | head -c 1000000 >&2; for n in 1 2 3 4; do echo line $n >&2; done; exit 3").capture(0, &never);
    let ended = ended.unwrap();
    assert_eq!(
        (ended.ending().as_str(), ended.last_errors().as_deref()),
        ("exit code 3", Some("line 2; line 3; line 4"))
    );
}

#[test]
fn lines_are_masked_and_long_ones_come_in_pieces() {
    let secret = Secret::new("hunter2hunter2".to_owned());
    let mut lines = Vec::new();
    let text = "echo a hunter2hunter2; head -c 40000 /dev/zero | tr '\\0' y; echo; echo error >&2; printf end";
    let masker = Masker::new([&secret]);
    let status = sh(text).stream(&masker, &Cancel::default(), &mut |line| lines.push(line)).unwrap();
    assert!(status.success());
    let mut printed = Vec::new();
    let mut errors = Vec::new();
    for line in lines {
        match line {
            Line::Stdout(text) => printed.push(text),
            Line::Stderr(text) => errors.push(text),
        }
    }
    assert_eq!((printed[0].as_str(), errors), ("a ***", vec!["error".to_owned()]));
    assert!(printed.iter().all(|line| line.len() <= 16 * 1024 + secret.expose().len()), "pieces");
    assert_eq!(printed.last().unwrap(), "end");
    assert_eq!(printed.iter().map(|line| line.matches('y').count()).sum::<usize>(), 40_000);
}

#[test]
fn a_cancel_ends_it_by_term_and_after_the_grace_by_kill() {
    let later = |cancel: &Cancel| {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            cancel.cancel(CancelReason::Requested);
        })
    };
    let run = |text: &str, grace: u64| {
        let (cancel, mut lines) = (Cancel::default(), Vec::new());
        let canceller = later(&cancel);
        let program = sh(text).grace(Duration::from_secs(grace));
        let failure = program.stream(&Masker::default(), &cancel, &mut |line| lines.push(line)).unwrap_err();
        canceller.join().unwrap();
        assert!(matches!(failure, Failure::Cancelled(CancelReason::Requested)), "{failure:?}");
        lines
    };
    let begun = Instant::now();
    let lines = run("trap 'echo bye; exit' TERM; while :; do sleep 0.05; done", 60);
    assert!(lines.contains(&Line::Stdout("bye".to_owned())), "{lines:?}");
    let lines = run("trap 'echo no' TERM; while :; do sleep 0.05; done", 1);
    assert!(lines.contains(&Line::Stdout("no".to_owned())) && begun.elapsed() < Duration::from_secs(50), "{lines:?}");
}

#[test]
fn the_group_is_killed_at_the_limit() {
    let tl = Tl::new();
    let program = sh("echo $$ > group; sleep 300 & sleep 300").folder(tl.path()).limit(Duration::from_millis(500));
    assert!(matches!(program.run(&Cancel::default()), Err(Failure::Late)));
    group_ended(&tl);
}

#[test]
fn a_validate_finds_what_a_channel_cannot_do_and_a_run_what_only_it_can_know() {
    let tl = Tl::new();
    let hook = "  hook: { uses: webhook, with: { url: '${{ secrets.url }}' } }\nsecrets: { url: { from: env, name: URL } }\n\
                notify: [{ when: [failure], to: [hook] }]\nstages:\n  a: { run: [\"true\"] }\n";
    tl.pipeline(hook);
    tl.ok(&["validate", "p.yaml"]);
    let mut command = tl.command(&["run", "p.yaml"]);
    let output = command.env("URL", "http://hooks.example.com/secret").stdout(Stdio::piped()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && printed.contains("TL0606"), "{printed}");
    assert!(printed.contains("must begin with `https:`") && !printed.contains("example.com/secret"), "{printed}");
}

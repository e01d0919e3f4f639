//! A state folder on a disk that is unfit: mounted read-only, as after an error of the disk, or without locks, as some network shares.

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use crate::support::{CHAIN, Disk, Ended, Tl, ended};

fn remount(folder: &Path, how: &str) {
    let mounted = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(folder).status().unwrap();
    assert!(mounted.success());
}

/// A pipeline that ran once, and one that is late.
fn ran(tl: &Tl) {
    tl.write("data/a", "x").pipeline(&format!(
        "expect: {{ success-every: 1s }}\nstages:\n  say: {{ run: [seq, '20000'] }}\n{}notify:\n  - {{ when: [failure, blocked, stale], to: [log] }}\n",
        CHAIN.replace("key: object", "key: '${{ run.id }}'")
    ));
    tl.ok(&["run", "p.yaml"]);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
}

fn run(tl: &Tl, command: &[&str]) -> Ended {
    ended(tl.command(command).env("XDG_RUNTIME_DIR", tl.path()))
}

/// The occasions of the messages so far.
fn told(tl: &Tl) -> Vec<String> {
    let text = std::fs::read_to_string(tl.file("log.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["when"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_read_only_state_folder_is_named_and_told_and_can_be_read() {
    let tl = Tl::new();
    let _disk = Disk::new(&tl.state(), "16m");
    ran(&tl);
    remount(&tl.state(), "ro");
    for _ in 0..2 {
        let blocked = run(&tl, &["run", "p.yaml"]);
        assert!(blocked.code == 1 && blocked.stdout.contains("mounted read-only"), "{blocked:?}");
        let late = run(&tl, &["stale", "--notify", "p.yaml"]);
        assert!(late.code == 1 && late.stderr.contains("mounted read-only"), "{late:?}");
        assert!(late.stderr.contains("TL0764"), "{late:?}");
        assert_eq!(told(&tl), ["blocked", "stale"]);
    }
    for command in [
        &["history"][..],
        &["show"],
        &["status"],
        &["stats"],
        &["audit", "verify"],
        &["audit", "show"],
        &["notify", "list"],
        &["versions", "p.yaml"],
        &["plan", "p.yaml"],
    ] {
        assert_eq!(run(&tl, command).code, 0, "{command:?}");
    }
    for command in [&["gc"][..], &["doctor", "p.yaml"]] {
        let failed = run(&tl, command);
        let text = format!("{}{}", failed.stdout, failed.stderr);
        assert!(failed.code == 1 && (text.contains("mounted read-only") || text.contains("Read-only")), "{failed:?}");
    }
    remount(&tl.state(), "rw");
    tl.ok(&["run", "p.yaml"]);
    delivered_once(&tl, 2);
    tl.ok(&["audit", "verify"]);
}

/// On a full disk a note can be made and not be written: the next folder takes it.
#[test]
fn a_full_state_folder_is_told_once() {
    let tl = Tl::new();
    let _disk = Disk::new(&tl.state(), "8m");
    ran(&tl);
    let about = rustix::fs::statvfs(tl.state()).unwrap();
    let free = usize::try_from(about.f_bavail * about.f_frsize).unwrap();
    std::fs::create_dir_all(tl.state().join("blocked")).unwrap();
    std::fs::write(tl.state().join("filler"), vec![1; free + (1 << 20)]).unwrap_err();
    // The first ones may get farther than those after them, and end by another cause.
    let mut counts = Vec::new();
    for _ in 0..7 {
        assert!(run(&tl, &["run", "p.yaml"]).code != 0);
        counts.push(told(&tl).len());
    }
    assert!(counts[0] == 1 && counts[3] == counts[6] && counts[6] <= 3, "{counts:?}");
    let late = run(&tl, &["stale", "--notify", "p.yaml"]);
    assert!(late.code == 1 && told(&tl).last().is_some_and(|when| when == "stale"), "{late:?}");
    // The database cannot even be written to delete from it, until the logs are gone.
    assert_eq!(run(&tl, &["gc"]).code, 1);
    let freed = run(&tl, &["gc", "--logs", "0s"]);
    assert!(freed.code == 0 && freed.stdout.contains("log"), "{freed:?}");
}

/// That each of these runs delivered one object.
fn delivered_once(tl: &Tl, runs: usize) {
    let names = crate::support::files(&tl.file("shelf"));
    assert_eq!(names.len(), 2 * runs, "{names:?}");
}

/// As a share answers that is mounted without its lock manager.
#[test]
fn a_state_folder_without_locks_is_named_and_told() {
    for lock in ["audit/lock", "work/lock"] {
        let tl = Tl::new();
        ran(&tl);
        let traced = |command: &[&str]| {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(tl.state().join(lock));
            strace
                .args(["-e", "trace=flock", "-e", "inject=flock:error=ENOLCK", env!("CARGO_BIN_EXE_tl")])
                .args(command);
            strace.env("TL_STATE", tl.state()).env("XDG_RUNTIME_DIR", tl.path()).current_dir(tl.path());
            ended(&mut strace)
        };
        for _ in 0..2 {
            let blocked = traced(&["run", "p.yaml"]);
            assert!(blocked.code == 1 && blocked.stdout.contains("has no locks"), "{lock}: {blocked:?}");
            assert_eq!(told(&tl), ["blocked"], "{lock}");
        }
        if lock == "audit/lock" {
            let late = traced(&["stale", "--notify", "p.yaml"]);
            assert!(late.code == 1 && late.stderr.contains("has no locks"), "{late:?}");
            assert_eq!(told(&tl), ["blocked", "stale"]);
            let found = traced(&["doctor", "p.yaml"]);
            assert!(found.code == 1 && found.stdout.contains("No locks available"), "{found:?}");
        }
        tl.ok(&["run", "p.yaml"]);
        tl.ok(&["audit", "verify"]);
        delivered_once(&tl, 2);
    }
}

/// The folder where a disk belongs takes nothing while the disk is away.
#[test]
fn a_store_may_have_to_be_mounted() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{}", CHAIN.replace("key: object", "key: '${{ run.id }}'")));
    tl.write("p.yaml", tl.read("p.yaml").replace("path: shelf }", "path: shelf, require-mount: true }"));
    let disk = Disk::new(&tl.file("shelf"), "4m");
    tl.ok(&["run", "p.yaml"]);
    drop(disk);
    for command in ["doctor", "run"] {
        let away = tl.run(&[command, "p.yaml"]);
        let code = if command == "run" { 10 } else { 1 };
        assert!(away.code == code && away.stdout.contains("no file system is mounted there"), "{away:?}");
    }
    assert!(crate::support::files(&tl.file("shelf")).is_empty());
}

/// The limit of a shell or of a unit on the size of files is an error like a full disk.
#[test]
fn a_limit_on_the_size_of_files_is_a_failure_with_a_message() {
    let tl = Tl::new();
    tl.write("data/a", vec![7; 3_000_000])
        .pipeline(&format!("stages:\n{CHAIN}notify: [{{ when: [failure, blocked], to: [log] }}]\n"));
    let told_of = ended(&mut tl.shell("ulimit -f 1000; exec tl run p.yaml"));
    assert!(told_of.code == 1 && told_of.stdout.contains("File too large"), "{told_of:?}");
    assert_eq!(told(&tl), ["failure"]);
}

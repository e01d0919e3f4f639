//! `tl versions`: the texts of a pipeline file as its runs used them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Instant;

use serde_json::Value as Json;

use crate::support::{Ended, Tl, files};

fn text(argument: &str) -> String {
    format!("version: 1\nname: test\n# what it does\nstages:\n  a: {{ run: [echo, {argument}] }}\n")
}

/// A folder in which `p.yaml` ran with each of these texts.
fn ran(arguments: &[&str]) -> Tl {
    let tl = Tl::new();
    for argument in arguments {
        tl.write("p.yaml", text(argument)).ok(&["run", "p.yaml"]);
    }
    tl
}

fn versions(tl: &Tl) -> Vec<Json> {
    let list = tl.ok(&["versions", "p.yaml", "--json"]).stdout;
    serde_json::from_str::<Json>(&list).unwrap()["versions"].as_array().unwrap().clone()
}

fn restore(tl: &Tl, number: &str) -> Ended {
    tl.run(&["versions", "restore", "p.yaml", number, "--yes"])
}

fn redact(tl: &Tl, ended: &Ended) -> String {
    let times = regex::Regex::new(r"\[DATE\]T[\d:.]+Z").unwrap();
    times.replace_all(&ended.shown(tl), "[WHEN]").into_owned()
}

#[test]
fn each_text_that_ran_is_listed_and_compared() {
    let tl = ran(&["one", "two", "one"]);
    insta::assert_snapshot!("list", redact(&tl, &tl.run(&["versions", "p.yaml"])));
    let listed = versions(&tl);
    assert_eq!(listed.len(), 2);
    for (version, present) in listed.iter().zip([true, false]) {
        assert_eq!(version["present"], present);
        assert_eq!(version["pipeline"], "test");
        assert!(version["first_used"].as_str() <= version["last_used"].as_str());
    }
    assert_ne!(listed[0]["first_used"], listed[0]["last_used"], "it ran twice");
    insta::assert_snapshot!("diff", tl.run(&["versions", "diff", "p.yaml", "1", "2"]).shown(&tl));
    // Compared with the current file, whichever name is used for it.
    tl.write("p.yaml", text("three")).write("sub/x", "");
    let same = tl.ok(&["versions", "diff", "sub/../p.yaml", "2", "--json"]).stdout;
    let same: Json = serde_json::from_str(&same).unwrap();
    assert!(same["diff"].as_str().unwrap().contains("\n+  a: { run: [echo, three] }\n"), "{same}");
    assert_eq!(tl.ok(&["versions", "diff", "p.yaml", "1", "1"]).stdout, "");
    insta::assert_snapshot!("unknown", tl.run(&["versions", "diff", "p.yaml", "7"]).shown(&tl));
    assert!(tl.run(&["versions", "restore", "other.yaml", "1"]).stderr.contains("has kept its text"));
    assert_eq!(tl.ok(&["versions", "other.yaml"]).stderr, "no run of this file has kept its text here\n");
    fs::remove_file(tl.file("p.yaml")).unwrap();
    let missing = tl.run(&["versions", "diff", "p.yaml", "1"]);
    assert!(missing.code == 1 && missing.stderr.contains("TL0710"), "{missing:?}");
    for wrong in [&["versions"][..], &["versions", "diff", "p.yaml"], &["versions", "restore", "p.yaml", "x"]] {
        assert_eq!(tl.run(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn changes_within_a_second_are_all_recoverable() {
    let arguments = ["one", "two", "three", "four"];
    let tl = ran(&["warm"]);
    let began = Instant::now();
    let mut times = Vec::new();
    for argument in arguments {
        tl.write("p.yaml", text(argument)).ok(&["run", "p.yaml"]);
        times.push(began.elapsed());
    }
    // The test does not depend on the speed of this machine: versions are identified by their text, not by time.
    eprintln!("four changes ran within {:?}", times.last().unwrap());
    for (number, argument) in arguments.iter().enumerate() {
        assert_eq!(restore(&tl, &(number + 2).to_string()).code, 0);
        assert_eq!(tl.read("p.yaml"), text(argument));
    }
    // A restoration also keeps the text that it overwrites, immediately and without a run.
    for argument in ["five", "six", "seven"] {
        tl.write("p.yaml", text(argument));
        assert_eq!(restore(&tl, "1").code, 0);
    }
    assert_eq!(versions(&tl).len(), 8);
    for (number, argument) in [("6", "five"), ("7", "six"), ("8", "seven")] {
        assert_eq!(restore(&tl, number).code, 0);
        assert_eq!(tl.read("p.yaml"), text(argument));
    }
    assert_eq!(versions(&tl).len(), 8, "no text is kept twice");
}

#[test]
fn a_restoration_gives_the_same_bytes_and_keeps_what_was_there() {
    let tl = Tl::new();
    let odd = format!("\u{feff}{}", text("one").replace('\n', "\r\n"));
    tl.write("p.yaml", &odd).ok(&["run", "p.yaml"]);
    let path = tl.file("p.yaml");
    // Not valid UTF-8, and with another mode.
    fs::write(&path, b"not: \xff a text").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    fs::rename(&path, tl.file("real.yaml")).unwrap();
    std::os::unix::fs::symlink("real.yaml", &path).unwrap();
    // Versions belong to the file, not to its name: the link leads to a file that never ran.
    assert!(restore(&tl, "1").stderr.contains("TL0743"));
    fs::remove_file(&path).unwrap();
    fs::rename(tl.file("real.yaml"), &path).unwrap();
    std::os::unix::fs::symlink("p.yaml", tl.file("link.yaml")).unwrap();
    let refused = tl.run(&["versions", "restore", "link.yaml", "1"]);
    insta::assert_snapshot!("needs_yes", refused.shown(&tl));
    assert_eq!(fs::read(&path).unwrap(), b"not: \xff a text");
    let restored = tl.ok(&["versions", "restore", "link.yaml", "1", "--yes"]);
    assert!(restored.stdout.ends_with("link.yaml has the text of version 1 again; what it held is version 2\n"));
    assert_eq!(tl.read("p.yaml"), odd);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(tl.file("link.yaml")).unwrap().is_symlink());
    assert!(tl.ok(&["versions", "restore", "p.yaml", "1"]).stdout.contains("already"));
    assert_eq!(restore(&tl, "2").code, 0);
    assert_eq!(fs::read(&path).unwrap(), b"not: \xff a text");
    // A deleted file.
    fs::remove_file(&path).unwrap();
    assert_eq!(restore(&tl, "1").code, 0);
    assert_eq!(tl.read("p.yaml"), odd);
    assert_eq!(files(tl.path()).iter().filter(|name| name.contains("partial")).count(), 0);
}

#[test]
fn a_file_with_two_names_is_not_cut_from_the_second() {
    let tl = ran(&["one", "two"]);
    fs::hard_link(tl.file("p.yaml"), tl.file("second.yaml")).unwrap();
    let inode = |name: &str| fs::metadata(tl.file(name)).unwrap().ino();
    insta::assert_snapshot!("two_names", restore(&tl, "1").shown(&tl));
    assert!(tl.read("p.yaml") == text("two") && inode("p.yaml") == inode("second.yaml"));
    let drawn = tl.run(&["graph", "p.yaml", "--out", "second.yaml"]);
    assert!(drawn.code == 1 && drawn.stderr.contains("TL0748") && tl.read("second.yaml") == text("two"), "{drawn:?}");
    // The remedy that the error suggests.
    fs::copy(tl.file("p.yaml"), tl.file("own.yaml")).unwrap();
    fs::rename(tl.file("own.yaml"), tl.file("p.yaml")).unwrap();
    assert_eq!(restore(&tl, "1").code, 0);
    assert!(tl.read("p.yaml") == text("one") && tl.read("second.yaml") == text("two"));
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let tl = ran(&["one"]);
    assert!(std::process::Command::new("mkfifo").arg(tl.file("pipe")).status().unwrap().success());
    // A pipeline file that has become a pipe.
    fs::copy(tl.file("p.yaml"), tl.file("base.yaml")).unwrap();
    fs::remove_file(tl.file("p.yaml")).unwrap();
    fs::rename(tl.file("pipe"), tl.file("p.yaml")).unwrap();
    let extends = "version: 1\nname: test\nextends: p.yaml\nstages: { a: { run: [echo] } }\n";
    tl.write("extends.yaml", extends);
    for arguments in [
        &["versions", "p.yaml"][..],
        &["versions", "/dev/zero"],
        &["versions", "."],
        &["versions", "diff", "p.yaml", "1"],
        &["versions", "restore", "p.yaml", "1", "--yes"],
        &["migrate", "p.yaml"],
        &["migrate", "/dev/zero"],
        &["validate", "extends.yaml"],
    ] {
        let ended = tl.run(arguments);
        assert!(ended.code == 2 && ended.stderr.contains("error[TL0001]"), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("is no regular file"), "{arguments:?}: {ended:?}");
    }
    tl.write("large.yaml", vec![b'#'; (4 << 20) + 1]);
    assert!(tl.run(&["versions", "large.yaml"]).stderr.contains("error[TL0004]"));
    // A pipe can be validated: its name on the command line says that somebody writes to it.
    let piped = crate::support::ended(&mut tl.shell("cat base.yaml | tl validate /dev/stdin"));
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "/dev/stdin: fine\n"), "{piped:?}");
    // A drawing goes to a pipe as to a file, and what is in it is nobody's to read.
    let drawn = crate::support::ended(&mut tl.shell("cat p.yaml > drawn & tl graph base.yaml --out p.yaml && wait"));
    assert!(drawn.code == 0 && tl.read("drawn").contains("\nflowchart TD\n"), "{drawn:?}");
}

#[cfg(feature = "peers")]
#[test]
fn on_a_terminal_it_asks_and_looks_again() {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    let tl = ran(&["one", "two"]);
    for (typing, code, now) in [("echo n", 75, "two"), ("echo", 75, "two"), ("echo y", 0, "one")] {
        let ended = tl.typed("versions restore p.yaml 1", typing);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stdout.contains("-  a: { run: [echo, two] }") && ended.stdout.contains("[y/N]"), "{ended:?}");
        assert_eq!(tl.read("p.yaml"), text(now));
    }
    // Somebody saves the file while the question is open.
    let line = format!("{} versions restore p.yaml 2", env!("CARGO_BIN_EXE_tl"));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("TL_STATE", tl.state()).current_dir(tl.path());
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = Vec::new();
    let mut out = child.stdout.take().unwrap();
    while !shown.ends_with(b"[y/N] ") {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.extend(byte);
    }
    tl.write("p.yaml", "saved");
    child.stdin.take().unwrap().write_all(b"y\n").unwrap();
    out.read_to_end(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(String::from_utf8_lossy(&shown).contains("TL0744"), "{}", String::from_utf8_lossy(&shown));
    assert_eq!(tl.read("p.yaml"), "saved");
    assert_eq!(files(tl.path()).iter().filter(|name| name.contains("partial")).count(), 0);
}

#[test]
fn a_file_that_cannot_be_read_has_a_way_back() {
    let tl = Tl::new();
    tl.write("p.yaml", "version: 1\nname: [").write("never.yaml", "version: 1\nname: [");
    assert!(!tl.run(&["validate", "p.yaml"]).stderr.contains("versions"));
    assert!(!tl.file("state").exists(), "looking makes nothing");
    tl.write("p.yaml", text("one")).ok(&["run", "p.yaml"]);
    for broken in ["version: 1\nname: [", "version: 1\nname: test\nstages:\n  a: { uses: nothing }\n", ""] {
        tl.write("p.yaml", broken);
        for command in ["validate", "run"] {
            let ended = tl.run(&[command, "p.yaml"]);
            assert!(
                ended.code == 2 && ended.stderr.contains("`tl versions p.yaml` has the last good text"),
                "{ended:?}"
            );
        }
    }
    insta::assert_snapshot!("last_good", tl.run(&["validate", "p.yaml"]).shown(&tl));
    let found = tl.run(&["validate", "p.yaml", "--json"]).stdout;
    assert!(found.contains("has the last good text"), "{found}");
    assert!(!tl.run(&["validate", "never.yaml"]).stderr.contains("versions"));
    fs::remove_file(tl.file("p.yaml")).unwrap();
    assert!(tl.run(&["run", "p.yaml"]).stderr.contains("`tl versions p.yaml` has the last good text"));
    assert_eq!(restore(&tl, "1").code, 0);
    tl.ok(&["run", "p.yaml"]);
    // A wrong input is not a mistake in the file.
    assert!(!tl.run(&["run", "p.yaml", "--input", "a=b"]).stderr.contains("versions"));
    // A corrupt database does not prevent validation. Commands that need it report it.
    fs::write(tl.file("state/state.db"), vec![b'x'; 9_000]).unwrap();
    tl.ok(&["validate", "p.yaml"]);
    let listed = tl.run(&["versions", "p.yaml"]);
    assert!(listed.code == 1 && listed.stderr.contains("TL0718"), "{listed:?}");
}

#[test]
fn an_identity_in_a_file_is_not_kept() {
    let tl = Tl::new();
    tl.ok(&["key", "new", "-o", "identity.txt"]);
    let identity = tl.read("identity.txt").lines().find(|line| line.starts_with("AGE-SECRET")).unwrap().to_owned();
    tl.write("p.yaml", format!("# {identity}\n{}", text("one"))).ok(&["run", "p.yaml"]);
    for name in ["state.db", "state.db-wal"] {
        let bytes = fs::read(tl.state().join(name)).unwrap_or_default();
        let secret = &identity.as_bytes()["AGE-SECRET-KEY-1".len()..];
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{name} holds it");
    }
    tl.write("other.yaml", tl.read("p.yaml"));
    tl.write("p.yaml", text("two")).ok(&["run", "p.yaml"]);
    assert_eq!(restore(&tl, "1").code, 0);
    assert!(tl.read("p.yaml").starts_with("# AGE-SECRET-KEY-***"), "{}", tl.read("p.yaml"));
    // A restoration would destroy the only copy of the identity.
    tl.write("p.yaml", tl.read("other.yaml"));
    let refused = restore(&tl, "2");
    assert!(refused.code == 1 && refused.stderr.contains("TL0745"), "{refused:?}");
    assert!(!refused.stderr.contains(&identity) && tl.read("p.yaml") == tl.read("other.yaml"));
}

#[test]
fn runs_at_once_keep_each_text_once() {
    let tl = Tl::new();
    tl.write("p.yaml", text("one"));
    let runs: Vec<_> = (0..6).map(|_| tl.start(&["run", "p.yaml"])).collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        // That the others are at work is the only thing to warn of.
        let said = String::from_utf8_lossy(&output.stdout).replace("warning[TL0784]", "");
        assert!(!said.contains("warning["), "{said}");
    }
    assert_eq!(versions(&tl).len(), 1);
}

/// A restoration that is killed at any moment leaves the old file or the new one, and both texts in the state.
#[test]
fn a_restoration_that_is_killed_leaves_a_whole_file() {
    let tl = Tl::new();
    let long = |argument: &str| text(argument) + &"# a line of a long file\n".repeat(25_000);
    for argument in ["one", "two"] {
        tl.write("p.yaml", long(argument)).ok(&["run", "p.yaml"]);
    }
    let seed = 20_261_124;
    let mut random = fastrand::Rng::with_seed(seed);
    let whole = {
        let began = Instant::now();
        assert_eq!(restore(&tl, "1").code, 0);
        began.elapsed()
    };
    let (mut old, mut new, mut killed) = (0, 0, 0);
    let look = || fs::metadata(tl.file("p.yaml")).map(|about| (about.ino(), about.len(), about.mtime_nsec())).ok();
    for round in 0..60 {
        let before = tl.read("p.yaml") == long("one");
        let target = if before { "2" } else { "1" };
        let first = look();
        let mut child = tl.start(&["versions", "restore", "p.yaml", target, "--yes"]);
        if round % 2 == 0 {
            std::thread::sleep(whole.mul_f64(random.f64() * 1.1));
        } else {
            // Kills at the first sign of a change: a file that is written in place would then be truncated.
            while look() == first && child.try_wait().unwrap().is_none() {}
        }
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let now = tl.read("p.yaml");
        assert!(now == long("one") || now == long("two"), "round {round}: {} bytes", now.len());
        if (now == long("one")) == before {
            old += 1;
        } else {
            new += 1;
        }
    }
    eprintln!("seed {seed}: {killed} of 60 were killed, {old} left the old text, {new} the new one");
    assert!(killed >= 15 && old >= 5 && new >= 5, "killed {killed}, old {old}, new {new}");
    assert_eq!(versions(&tl).len(), 2);
    for (number, argument) in [("1", "one"), ("2", "two")] {
        assert_eq!(restore(&tl, number).code, 0);
        assert_eq!(tl.read("p.yaml"), long(argument));
    }
}

#[test]
fn files_named_by_extends_belong_to_a_version() {
    let tl = Tl::new();
    let base = |argument: &str| format!("version: 1\nname: base\nstages:\n  a: {{ run: [echo, {argument}] }}\n");
    tl.write("p.yaml", "version: 1\nname: test\nextends: shared/base.yaml\n");
    tl.write("shared/base.yaml", format!("\u{feff}{}", base("one"))).ok(&["run", "p.yaml"]);
    tl.write("shared/base.yaml", base("two")).ok(&["run", "p.yaml"]);
    let listed = versions(&tl);
    assert_eq!(listed.len(), 2, "a base that changed makes a version");
    assert_eq!(listed[0]["sha256"], listed[1]["sha256"]);
    assert_ne!(listed[0]["extends"][0]["sha256"], listed[1]["extends"][0]["sha256"]);
    assert_eq!([&listed[0]["present"], &listed[1]["present"]], [false, true]);
    insta::assert_snapshot!("extends_list", redact(&tl, &tl.run(&["versions", "p.yaml"])));
    let diff = tl.ok(&["versions", "diff", "p.yaml", "1", "2"]).stdout;
    assert!(diff.contains("base.yaml version 1\n") && diff.contains("\n+  a: { run: [echo, two] }\n"), "{diff}");

    // Each changed file is shown and written, byte for byte. The overwritten texts are kept.
    tl.write("p.yaml", "version: 1\nname: test\nextends: shared/base.yaml\ntimeout: 1h\n");
    tl.write("shared/base.yaml", base("three"));
    let restored = restore(&tl, "1");
    insta::assert_snapshot!("extends_restored", redact(&tl, &restored));
    assert_eq!(tl.read("shared/base.yaml"), format!("\u{feff}{}", base("one")));
    assert_eq!(tl.read("p.yaml"), "version: 1\nname: test\nextends: shared/base.yaml\n");
    assert_eq!(restore(&tl, "3").code, 0);
    assert_eq!(tl.read("shared/base.yaml"), base("three"));
    assert!(tl.read("p.yaml").contains("timeout: 1h"));
    assert!(restore(&tl, "3").stdout.contains("already"));
    // A deleted base comes back, and so does a base next to a deleted pipeline file.
    fs::remove_file(tl.file("shared/base.yaml")).unwrap();
    fs::remove_file(tl.file("p.yaml")).unwrap();
    assert_eq!(restore(&tl, "2").code, 0);
    assert_eq!(tl.read("shared/base.yaml"), base("two"));
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(versions(&tl).len(), 3, "no text is kept twice");
}

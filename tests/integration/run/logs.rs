//! The output of programs is kept in one file for each attempt.

use std::fs;

use timelocker::state::StateDir;

use crate::support::{Ended, Tl, ended};

#[test]
fn what_programs_print_is_kept_for_each_attempt_without_secrets() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets: { token: { from: env, name: TOKEN_OF_TEST } }\nstages:\n  once:\n    env: { S: '${{ secrets.token }}' }\n    shell: sh\n    run: \
         'echo \"it is $S\"; echo trouble >&2'\n  again:\n    retry: { attempts: 2, delay: 1ms, exit-codes: [9] }\n    shell: sh\n    run: \
         'echo try; [ -e tried ] || { touch tried; exit 9; }'\n  many:\n    strategy: { matrix: { m: [x, y] } }\n    run: [echo, '${{ matrix.m }}']\n  \
         silent: { run: ['true'] }\n",
    );
    let run = ended(tl.command(&["run", "p.yaml"]).env("TOKEN_OF_TEST", "tok-en-1234"));
    assert_eq!(run.code, 0, "{run:?}");
    let logs = StateDir::locate(Some(&tl.state())).unwrap().logs(&tl.last_run());
    let mut kept: Vec<(String, Vec<String>)> = logs
        .list()
        .unwrap()
        .iter()
        .map(|log| {
            let name = log.path.file_name().unwrap().to_string_lossy().into_owned();
            (name, log.read().more().unwrap().into_iter().map(|line| line.text).collect())
        })
        .collect();
    kept.iter_mut().for_each(|(_, lines)| lines.sort());
    kept.sort();
    let expected = [
        ("again-1-1.log", vec!["try"]),
        ("again-1-2.log", vec!["try"]),
        ("many.0-1-1.log", vec!["x"]),
        ("many.1-1-1.log", vec!["y"]),
        ("once-1-1.log", vec!["it is ***", "trouble"]),
    ];
    let expected = expected.map(|(name, lines)| (name.to_owned(), lines.into_iter().map(str::to_owned).collect()));
    assert_eq!(kept, expected);
}

#[test]
fn a_log_that_cannot_be_written_is_told_once_and_fails_nothing() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { run: [echo, one] }\n  b: { run: [echo, two] }\n");
    tl.write("state/logs", "");
    fs::set_permissions(tl.state(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let Ended { code, stdout, .. } = tl.run(&["run", "p.yaml"]);
    assert_eq!((code, stdout.matches("TL0753").count()), (0, 1), "{stdout}");
}

#[test]
fn the_logs_of_a_run_are_shown_and_followed_to_its_end() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  slow: { run: 'echo one; while [ ! -e go ]; do sleep 0.05; done; printf \"two\\033[31m\\n\"', shell: sh }\n  \
         other: { run: 'echo other >&2', shell: sh }\n",
    );
    let mut child = tl.start(&["run", "p.yaml"]);
    let start = std::time::Instant::now();
    let shown = |arguments: &[&str]| tl.ok(&[&["logs"], arguments].concat()).stdout;
    let run = loop {
        assert!(start.elapsed().as_secs() < 30);
        let known = StateDir::locate(Some(&tl.state())).unwrap().last_runs().unwrap_or_default();
        match known.first() {
            Some(last) if shown(&[&last.run]).lines().count() == 2 => break last.run.clone(),
            _ => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    let follower = tl.start(&["logs", &run[20..], "slow", "--follow"]);
    tl.write("go", "");
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8(follower.wait_with_output().unwrap().stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with(" slow | one") && lines[1].contains(" slow | two"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let json = shown(&[&run, "other", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&line["stream"], &line["line"]), (&"stderr".into(), &"other".into()));
    assert_eq!(tl.ok(&["logs", &run, "nosuch"]).stdout, "");
}

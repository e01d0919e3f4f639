//! A file that no longer reads, or does not take its inputs: the channels of its last good text are told.

use std::fs;

use serde_json::Value as Json;

use crate::support::{BELL, Tl};

/// A file that ran once, with a base, an input, and two channels that ask for `blocked`.
fn ran() -> Tl {
    let tl = Tl::new();
    tl.write("bell.sh", BELL).write("told", "");
    tl.write("base.yaml", "version: 1\ninputs: { n: { type: int, default: 1 } }\n").pipeline(
        "  bell: { uses: command, with: { run: [sh, bell.sh] } }\nstages:\n  a: { run: [echo, '${{ inputs.n }}'] }\n\
         notify:\n  - { when: [blocked, recovered], to: [log, bell] }\n",
    );
    tl.write("p.yaml", format!("extends: base.yaml\n{}", tl.read("p.yaml")));
    tl.ok(&["run", "p.yaml", "--input", "n=2"]);
    tl
}

/// The messages in `log` since the last call.
fn told(tl: &Tl) -> Vec<Json> {
    let text = fs::read_to_string(tl.file("log.jsonl")).unwrap_or_default();
    let _none = fs::remove_file(tl.file("log.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Forgets which causes were told within the last hour.
fn hours_pass(tl: &Tl) {
    let _none = fs::remove_dir_all(tl.state().join("blocked"));
}

/// What is broken, how, the arguments of the run, and what its message says.
type Case<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str], &'a str);

#[test]
fn each_cause_is_told_once_an_hour_with_its_place_and_the_version_that_ran() {
    let tl = ran();
    let good = tl.read("p.yaml");
    let base = tl.read("base.yaml");
    let cases: [Case<'_>; 5] = [
        ("unknown key", &|| _ = tl.write("p.yaml", good.replace("run:", "rnu:")), &[], "(p.yaml:"),
        ("no YAML", &|| _ = tl.write("p.yaml", "version: [1\n"), &[], "TL0005"),
        ("include gone", &|| fs::remove_file(tl.file("base.yaml")).unwrap(), &[], "base.yaml"),
        ("file gone", &|| fs::remove_file(tl.file("p.yaml")).unwrap(), &[], "p.yaml"),
        ("wrong input", &|| {}, &["--input", "n=x"], "TL0503"),
    ];
    for (name, break_it, arguments, says) in cases {
        break_it();
        for again in [false, true] {
            let ended = tl.run(&[&["run", "p.yaml"], arguments].concat());
            assert_eq!(ended.code, 2, "{name}: {ended:?}");
            let messages = told(&tl);
            assert_eq!(messages.len(), usize::from(!again), "{name} {again}");
            for message in messages {
                let body = message["body"].as_str().unwrap();
                assert_eq!(message["when"], "blocked", "{name}");
                assert!(body.contains(says) && body.contains("version 1 of this file ran last"), "{name}: {body}");
            }
        }
        tl.write("p.yaml", &good).write("base.yaml", &base);
        hours_pass(&tl);
    }
    assert_eq!(tl.read("told").lines().count(), 5);
    let history: Json = serde_json::from_str(&tl.ok(&["history", "--json"]).stdout).unwrap();
    let blocked = history["runs"].as_array().unwrap().iter().filter(|run| run["outcome"] == "blocked");
    assert_eq!(blocked.count(), 10, "{history}");
    tl.ok(&["audit", "verify"]);
    // The next success mends it.
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(told(&tl)[0]["when"], "recovered");
    // A break within the hour after the mend gets its message at once, and so does another mistake.
    for key in ["rnu:", "rnu:", "nru:"] {
        tl.write("p.yaml", good.replace("run:", key));
        assert_eq!(tl.run(&["run", "p.yaml"]).code, 2);
    }
    assert_eq!(told(&tl).len(), 2);
    tl.write("p.yaml", &good);
    tl.ok(&["run", "p.yaml"]);
    told(&tl);
    tl.write("p.yaml", good.replace("run:", "rnu:"));
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 2);
    assert_eq!(told(&tl).len(), 1);
}

/// A timer and a person start it at the same time.
#[test]
fn runs_at_once_tell_of_a_cause_once() {
    let tl = ran();
    tl.write("p.yaml", tl.read("p.yaml").replace("run:", "rnu:"));
    let runs: Vec<_> = (0..8).map(|_| tl.start(&["run", "p.yaml"])).collect();
    runs.into_iter().for_each(|run| assert_eq!(crate::support::collected(run).code, 2));
    assert_eq!(told(&tl).len(), 1);
}

/// The next run tells a channel that was down, if the outbox keeps nothing, and leaves the others alone.
#[test]
fn a_channel_that_is_down_for_a_moment_is_told_by_the_next_run() {
    for (name, damage) in [("log", "audit"), ("database", "state.db")] {
        let tl = ran();
        tl.write("secret.txt", "a-secret").write("refuse", "");
        let file = tl
            .read("p.yaml")
            .replace("run: [echo, '${{ inputs.n }}'] }", "run: ['true'], env: { S: '${{ secrets.s }}' } }");
        tl.write("p.yaml", format!("{file}secrets: {{ s: {{ from: file, path: secret.txt }} }}\n"));
        tl.ok(&["run", "p.yaml"]);
        fs::remove_file(tl.file("secret.txt")).unwrap();
        let _sent = (fs::remove_file(tl.file("log.jsonl")), fs::remove_file(tl.file("told")));
        if damage == "audit" {
            let log = fs::read_dir(tl.state().join("audit/seg")).unwrap().map(|entry| entry.unwrap().path());
            let segment = log.max().unwrap();
            fs::write(&segment, fs::read_to_string(&segment).unwrap().replace("run.started", "run.stopped")).unwrap();
        } else {
            tl.write("state/state.db", vec![7; 8192]);
        }
        for (refuses, logged, rung) in [(true, 1, 0), (true, 1, 0), (false, 1, 1), (false, 1, 1)] {
            if !refuses {
                let _gone = fs::remove_file(tl.file("refuse"));
            }
            assert!(tl.run(&["run", "p.yaml"]).code != 0);
            let count = |file: &str| fs::read_to_string(tl.file(file)).unwrap_or_default().lines().count();
            assert_eq!((count("log.jsonl"), count("told")), (logged, rung), "{name}");
        }
    }
}

/// Two timers run one file, one of them with a wrong input.
#[test]
fn a_good_run_forgets_no_wrong_input() {
    let tl = ran();
    for _ in 0..3 {
        tl.ok(&["run", "p.yaml"]);
        assert_eq!(tl.run(&["run", "p.yaml", "--input", "n=x"]).code, 2);
    }
    assert_eq!(told(&tl).iter().filter(|message| message["when"] == "blocked").count(), 1);
}

#[test]
fn without_its_database_it_says_that_nobody_is_told() {
    let tl = ran();
    tl.write("p.yaml", tl.read("p.yaml").replace("run:", "rnu:")).write("state/state.db", vec![7; 8192]);
    let ended = tl.run(&["run", "p.yaml"]);
    assert!(ended.code == 2 && ended.stderr.contains("state.db"), "{ended:?}");
    assert!(told(&tl).is_empty());
}

#[test]
fn a_file_that_never_ran_has_nobody_to_tell_and_makes_no_state() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { rnu: ['true'] }\nnotify:\n  - { when: [blocked], to: [log] }\n");
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 2);
    assert!(told(&tl).is_empty() && !tl.state().exists());
}

#[test]
fn a_damaged_log_is_left_alone_and_told_directly() {
    let tl = ran();
    let log = fs::read_dir(tl.state().join("audit/seg")).unwrap().map(|entry| entry.unwrap().path());
    let segment = log.max().unwrap();
    let damaged = fs::read_to_string(&segment).unwrap().replace("run.started", "run.stopped");
    fs::write(&segment, &damaged).unwrap();
    tl.write("p.yaml", tl.read("p.yaml").replace("run:", "rnu:"));
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 2);
    let messages = told(&tl);
    assert!(messages.len() == 1 && messages[0]["body"].as_str().unwrap().contains("TL0701"), "{messages:?}");
    assert_eq!(fs::read_to_string(&segment).unwrap(), damaged);
}

#[test]
fn what_waits_goes_out_by_the_last_good_text() {
    let tl = ran();
    tl.write("refuse", "").write("p.yaml", tl.read("p.yaml").replace("run:", "rnu:"));
    let ended = tl.run(&["run", "p.yaml"]);
    assert!(ended.stderr.contains("the message to `bell` was not delivered"), "{ended:?}");
    fs::remove_file(tl.file("refuse")).unwrap();
    tl.ok(&["notify", "flush", "--all"]);
    assert_eq!(tl.read("told").lines().count(), 1);
}

#[test]
fn a_channel_without_its_secret_is_named() {
    let tl = ran();
    let hook = "  bell: { uses: webhook, with: { url: '${{ secrets.s }}', allow-private: true } }\nsecrets:\n  s: { from: file, path: secret.txt }\n";
    tl.write("secret.txt", "http://127.0.0.1:9/a-secret\n");
    tl.write("p.yaml", tl.read("p.yaml").replace("  bell: { uses: command, with: { run: [sh, bell.sh] } }\n", hook));
    tl.ok(&["run", "p.yaml"]);
    fs::remove_file(tl.file("secret.txt")).unwrap();
    tl.write("p.yaml", tl.read("p.yaml").replace("echo, ", "echo, , "));
    let ended = tl.run(&["run", "p.yaml"]);
    assert!(ended.stderr.contains("`bell`") && ended.stderr.contains("secret.txt"), "{ended:?}");
    assert_eq!(told(&tl).len(), 1);
}

#[cfg(feature = "peers")]
#[test]
fn who_mistypes_an_input_at_a_terminal_sees_it_there() {
    let tl = ran();
    let typed = tl.typed("run p.yaml --input n=x", "true");
    assert!(typed.stdout.contains("TL0503") || typed.stderr.contains("TL0503"), "{typed:?}");
    assert!(told(&tl).is_empty());
    tl.write("p.yaml", tl.read("p.yaml").replace("run:", "rnu:"));
    tl.typed("run p.yaml", "true");
    assert_eq!(told(&tl).len(), 1);
}

//! What counts as the success that `expect` and monitors wait for.

use std::fs;

use serde_json::Value as Json;

use crate::support::{Tl, wait_for};

/// A file that collects, delivers and proves, with an input for each step, and a channel for every occasion.
fn circle(tl: &Tl) -> &Tl {
    tl.write("data/a.txt", "a").pipeline(
        "inputs:\n  deliver: { type: bool, default: true }\n  prove: { type: bool, default: true }\nexpect: { success-every: 1d }\nstages:\n  \
         collect: { uses: archive, with: { sources: [data] } }\n  \
         deliver: { needs: collect, if: inputs.deliver, uses: upload, with: { artifact: '${{ needs.collect.outputs.artifact }}', store: shelf, key: '${{ run.id }}.tar' } }\n  \
         prove: { needs: deliver, if: inputs.prove, uses: verify, with: { object: '${{ needs.deliver.outputs.object }}', level: content } }\n  \
         after: { needs: deliver, run: [test, '!', -e, bad] }\n\
         notify:\n  - { when: [success, warning, failure, skipped, recovered], to: [log] }\n",
    )
}

fn shown(tl: &Tl, run: &str) -> Json {
    serde_json::from_str(&tl.ok(&["show", run, "--json"]).stdout).unwrap()
}

fn last_success(tl: &Tl) -> Option<String> {
    let stale: Json = serde_json::from_str(&tl.run(&["stale", "--json"]).stdout).unwrap();
    stale["pipelines"][0]["last_success"].as_str().map(str::to_owned)
}

fn rate(tl: &Tl) -> Json {
    let stats: Json = serde_json::from_str(&tl.ok(&["stats", "--json"]).stdout).unwrap();
    stats["pipelines"][0]["success_rate"].clone()
}

/// The occasions of the messages since the last call.
fn told(tl: &Tl) -> Vec<String> {
    let when = |line: &str| serde_json::from_str::<Json>(line).unwrap()["when"].as_str().unwrap().to_owned();
    let told = fs::read_to_string(tl.file("log.jsonl")).unwrap_or_default().lines().map(when).collect();
    let _none = fs::remove_file(tl.file("log.jsonl"));
    told
}

#[test]
fn a_run_that_delivers_nothing_silences_no_alarm() {
    let tl = Tl::new();
    circle(&tl);
    tl.ok(&["run", "p.yaml", "--input", "deliver=false"]);
    let first = shown(&tl, &tl.last_run());
    assert_eq!((&first["outcome"], &first["counts"], &first["good"]), (&"success".into(), &Json::Null, &Json::Null));
    assert_eq!(first["reason"], "`deliver` was skipped");
    assert!(tl.ok(&["show", &tl.last_run()]).stdout.contains("  counts   not as a success: `deliver` was skipped\n"));
    assert_eq!((told(&tl), last_success(&tl), rate(&tl)), (vec!["skipped".to_owned()], None, 0.0.into()));

    let summary = tl.ok(&["run", "p.yaml", "--input", "prove=false"]).stdout;
    assert!(summary.contains("not counted as a success: `prove` was skipped\n"), "{summary}");
    assert_eq!((told(&tl), last_success(&tl)), (vec!["skipped".to_owned()], None));

    tl.ok(&["run", "p.yaml"]);
    let run = tl.last_run();
    let good = shown(&tl, &run);
    assert_eq!((&good["counts"], &good["reason"]), (&"proven".into(), &Json::Null));
    assert!(tl.ok(&["show", &run]).stdout.contains("  counts   proven\n"));
    assert_eq!((told(&tl), last_success(&tl)), (vec!["success".to_owned()], good["good"].as_str().map(str::to_owned)));

    // To prove the old copy again, in its own run or in a new one, makes no new success.
    tl.ok(&["run", "--resume", &run, "--only", "prove"]);
    let again = shown(&tl, &run);
    assert_eq!(again["sessions"], 2);
    assert!(again["good"].as_str() <= good["good"].as_str(), "{again}");
    assert_eq!((told(&tl), last_success(&tl)), (vec![], again["good"].as_str().map(str::to_owned)));
    tl.ok(&["run", "p.yaml", "--only", "collect"]);
    assert_eq!(shown(&tl, &tl.last_run())["counts"], Json::Null);
    assert_eq!((told(&tl), last_success(&tl)), (vec![], again["good"].as_str().map(str::to_owned)));
}

#[test]
fn what_is_delivered_and_not_proven_is_shown_as_that() {
    let tl = Tl::new();
    tl.write("data/a.txt", "a").pipeline(
        "stages:\n  \
         collect: { uses: archive, with: { sources: [data] } }\n  \
         deliver: { needs: collect, uses: upload, with: { artifact: '${{ needs.collect.outputs.artifact }}', store: shelf, key: '${{ run.id }}.tar' } }\n",
    );
    tl.ok(&["run", "p.yaml"]);
    assert!(tl.ok(&["show", &tl.last_run()]).stdout.contains("  counts   delivered, not proven\n"));
    tl.pipeline("stages:\n  a: { run: ['true'] }\n");
    tl.ok(&["run", "p.yaml"]);
    assert!(tl.ok(&["show", &tl.last_run()]).stdout.contains("  counts   complete\n"));
    // A delivery that failed is none, also where the file forgives that.
    tl.pipeline(
        "stages:\n  \
         collect: { uses: archive, with: { sources: [data] } }\n  \
         deliver: { needs: collect, continue-on-error: true, uses: upload, with: { artifact: '${{ needs.collect.outputs.artifact }}', store: shelf, key: k } }\n",
    );
    tl.write("p.yaml", tl.read("p.yaml").replace("path: shelf", "path: nowhere"));
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 3);
    let shown = tl.ok(&["show", &tl.last_run()]).stdout;
    assert!(shown.contains("  counts   not as a success: `deliver` failed\n"), "{shown}");
}

#[test]
fn a_night_that_was_mended_recovers_once() {
    let tl = Tl::new();
    circle(&tl).write("bad", "");
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    let run = tl.last_run();
    assert_eq!((told(&tl), last_success(&tl)), (vec!["failure".to_owned()], None));
    fs::remove_file(tl.file("bad")).unwrap();
    tl.ok(&["run", "--resume", &run]);
    assert_eq!(told(&tl), ["recovered"]);
    // The delivery is that of the first session, and so is the time for which it counts.
    let mended = shown(&tl, &run);
    assert!(mended["good"].as_str() < mended["ended"].as_str(), "{mended}");
    assert_eq!(last_success(&tl).as_deref(), mended["good"].as_str());
    tl.ok(&["run", "--resume", &run, "--from", "prove"]);
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(told(&tl), ["success"]);
}

#[test]
fn a_night_that_died_and_was_mended_recovers_once() {
    let tl = Tl::new();
    circle(&tl).write("bad", "");
    tl.write("p.yaml", tl.read("p.yaml").replace("[test, '!', -e, bad]", "[sh, -c, 'test ! -e bad || sleep 1000']"));
    let mut child = tl.start(&["run", "p.yaml"]);
    wait_for(|| tl.run(&["status", "--json"]).stdout.contains("\"after\""));
    child.kill().unwrap();
    child.wait().unwrap();
    let run = tl.last_run();
    assert_eq!(told(&tl), Vec::<String>::new());
    fs::remove_file(tl.file("bad")).unwrap();
    tl.ok(&["run", "--resume", &run]);
    assert_eq!(told(&tl), ["recovered"]);
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(told(&tl), ["success"]);
}

#[test]
fn a_success_after_an_overdue_one_recovers_once() {
    let tl = Tl::new();
    circle(&tl);
    let p = tl
        .read("p.yaml")
        .replace("success-every: 1d", "success-every: 100ms")
        .replace("recovered]", "recovered, stale]");
    tl.write("p.yaml", p);
    tl.ok(&["run", "p.yaml"]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(tl.run(&["stale", "--notify"]).code, 1);
    assert_eq!(told(&tl), ["success", "stale"]);
    tl.ok(&["run", "p.yaml"]);
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(told(&tl), ["recovered", "success"]);
}

/// The second channel gets its message from the outbox, though the process died while it served the first.
#[test]
fn a_recovery_outlives_a_kill_between_two_channels() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a: { run: [test, -e, well] }\nnotify:\n  - { when: [failure, recovered], to: [deadly, log] }\n",
    );
    let deadly = "channels:\n  deadly: { uses: command, with: { run: [sh, -c, 'if test -e die; then rm die; kill -9 $PPID; fi'] } }\n";
    tl.write("p.yaml", tl.read("p.yaml").replace("channels:\n", deadly));
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    tl.write("well", "").write("die", "");
    assert_ne!(tl.run(&["run", "p.yaml"]).code, 0);
    assert!(!tl.file("die").exists());
    assert_eq!(told(&tl), ["failure"]);
    tl.ok(&["run", "p.yaml"]);
    tl.ok(&["notify", "flush"]);
    assert_eq!(told(&tl), ["recovered"]);
}

/// Two files of one name: neither ends the failure of the other, and a file that was moved is the same.
#[test]
fn a_recovery_belongs_to_its_file() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a: { run: [test, -e, well] }\nnotify:\n  - { when: [success, failure, recovered], to: [log] }\n",
    );
    tl.write("q.yaml", tl.read("p.yaml").replace("[test, -e, well]", "['true']"));
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    tl.ok(&["run", "q.yaml"]);
    assert_eq!(told(&tl), ["failure", "success"]);
    fs::rename(tl.file("p.yaml"), tl.file("moved.yaml")).unwrap();
    tl.write("well", "").ok(&["run", "moved.yaml"]);
    assert_eq!(told(&tl), ["recovered"]);
}

#[test]
fn a_matrix_that_delivered_in_part_does_not_count() {
    let tl = Tl::new();
    tl.write("one/a", "a").pipeline(
        "expect: { success-every: 1d }\nstages:\n  \
         collect: { strategy: { matrix: { of: [one, two] }, fail-fast: false }, continue-on-error: true, uses: archive, with: { sources: ['${{ matrix.of }}'] } }\n  \
         deliver: { needs: collect, strategy: { matrix: { artifact: '${{ needs.collect.outputs.artifact }}' } }, uses: upload, with: { artifact: '${{ matrix.artifact }}', store: shelf, key: '${{ run.id }}.tar' } }\n",
    );
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 3);
    let run = shown(&tl, &tl.last_run());
    assert_eq!((&run["counts"], &run["reason"]), (&Json::Null, &"`deliver` was skipped in part".into()));
    assert_eq!(last_success(&tl), None);
}

#[test]
fn an_odd_size_is_told_once_and_a_limit_makes_a_warning_of_it() {
    let tl = Tl::new();
    circle(&tl).write("data/a.txt", "a".repeat(100_000));
    for _ in 0..8 {
        assert!(!tl.ok(&["run", "p.yaml"]).stdout.contains("TL0785"));
    }
    assert_eq!(told(&tl).len(), 8);
    tl.write("data/a.txt", "a");
    let odd = tl.ok(&["run", "p.yaml"]).stdout;
    assert!(odd.contains("warning[TL0785]") && odd.contains("110.0 KiB are usual, by 8 earlier runs"), "{odd}");
    assert!(!tl.ok(&["run", "p.yaml"]).stdout.contains("TL0785"), "told again");
    // With a limit it is a warning, each time, and still a success.
    tl.write("p.yaml", tl.read("p.yaml").replace("success-every: 1d", "success-every: 1d, size-change: 50%"));
    assert_eq!(told(&tl), ["success", "success"]);
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 3);
    assert_eq!(shown(&tl, &tl.last_run())["counts"], "proven");
    let message = tl.read("log.jsonl");
    assert!(message.contains("are usual, by") && message.contains("\"when\":\"warning\""), "{message}");
    tl.write("data/a.txt", "a".repeat(100_000));
    tl.ok(&["run", "p.yaml"]);
}

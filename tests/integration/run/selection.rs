//! Runs of selected stages, and reruns of failed ones.

use std::io::{BufRead, BufReader};

use serde_json::Value as Json;

use crate::support::{Tl, event, events, files, outcomes};

/// A diamond of programs that each append a line, with a tail and a chain.
const STAGES: &str = r"stages:
  a: { run: [sh, -c, 'echo a >> ran.txt'] }
  b: { needs: a, run: [sh, -c, 'echo b >> ran.txt'] }
  c: { needs: a, run: [sh, -c, 'echo c >> ran.txt'] }
  d: { needs: [b, c], strategy: { matrix: { i: [1, 2] } }, run: [sh, -c, 'echo d$0 >> ran.txt', '${{ matrix.i }}'] }
  collect: { uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: '${{ run.id }}' } }
  prove: { needs: deliver, uses: verify, with: { object: '${{ needs.deliver.outputs.object }}', level: content } }
finally:
  always: { run: [sh, -c, 'echo always >> ran.txt'] }
";

fn with_stages(stages: &str) -> Tl {
    let tl = Tl::new();
    tl.write("data/a.txt", "hello").pipeline(stages);
    tl
}

/// The lines that the programs wrote since the last call, in order.
fn ran(tl: &Tl) -> Vec<String> {
    let mut ran: Vec<String> =
        if tl.file("ran.txt").exists() { tl.read("ran.txt").lines().map(str::to_owned).collect() } else { Vec::new() };
    tl.write("ran.txt", "");
    ran.sort();
    ran
}

fn run(tl: &Tl, arguments: &[&str]) -> (u8, Vec<Json>) {
    let ended = tl.run(&[&["run", "--reporter", "json"], arguments].concat());
    (u8::try_from(ended.code).unwrap(), events(&ended.stdout))
}

/// The stages that this session ran itself. A stage with instances counts if it ran one of them.
fn done(events: &[Json]) -> Vec<&str> {
    let has_instances =
        |stage: &Json| events.iter().any(|event| event["stage"] == *stage && !event["instance"].is_null());
    let is_done = |event: &&Json| {
        event["event"] == "stage-ended"
            && event["recalled"] != true
            && event["outcome"] != "skipped"
            && (!event["instance"].is_null() || !has_instances(&event["stage"]))
    };
    let mut done: Vec<&str> = events.iter().filter(is_done).map(|event| event["stage"].as_str().unwrap()).collect();
    done.sort_unstable();
    done.dedup();
    done
}

fn left_out(events: &[Json]) -> Vec<&str> {
    let list = events.last().unwrap()["left_out"].as_array();
    list.into_iter().flatten().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn only_takes_what_a_stage_needs_and_from_what_waits_for_it() {
    for (arguments, expected) in [
        (&["--only", "a"][..], &["a", "always"][..]),
        (&["--only", "b"], &["a", "always", "b"]),
        (&["--only", "b", "--only", "c"], &["a", "always", "b", "c"]),
        (&["--from", "b"], &["a", "always", "b", "c", "d"]),
        (&["--from", "a"], &["a", "always", "b", "c", "d"]),
        (&["--only", "seal"], &["always", "collect", "seal"]),
        (&["--from", "deliver"], &["always", "collect", "deliver", "prove", "seal"]),
        (&["--only", "always"], &["always"]),
    ] {
        let tl = with_stages(STAGES);
        let (code, events) = run(&tl, &[&["p.yaml"], arguments].concat());
        assert_eq!((code, done(&events)), (0, expected.to_vec()), "{arguments:?}");
        // Each other stage has an outcome and is listed.
        let others: Vec<&str> = ["a", "b", "c", "d", "collect", "seal", "deliver", "prove"]
            .into_iter()
            .filter(|stage| !expected.contains(stage))
            .collect();
        assert_eq!(left_out(&events), others, "{arguments:?}");
        let outcomes = outcomes(&events);
        assert!(others.iter().all(|stage| outcomes.contains(&((*stage).to_owned(), "skipped".to_owned()))));
        assert_eq!(files(&tl.file("shelf")).len(), if expected.contains(&"deliver") { 2 } else { 0 }, "{arguments:?}");
    }
}

#[test]
fn what_was_left_out_is_done_when_the_run_goes_on() {
    let tl = with_stages(STAGES);
    let (_, first) = run(&tl, &["p.yaml", "--only", "b", "--only", "seal"]);
    assert_eq!(ran(&tl), ["a", "always", "b"]);
    let id = first[0]["run"].as_str().unwrap();
    // A partial run counts as a success nowhere.
    let history: Json = serde_json::from_str(&tl.ok(&["history", "--json"]).stdout).unwrap();
    assert_eq!(history["runs"][0]["left_out"], serde_json::json!(["c", "d", "deliver", "prove"]));
    assert!(tl.ok(&["show", id]).stdout.contains("left out: c, d, deliver, prove"));
    let log = tl.ok(&["audit", "show", "--run", id, "--json"]).stdout;
    assert!(log.contains(r#""left_out":["c","d","deliver","prove"]"#), "{log}");
    assert!(tl.ok(&["run", "p.yaml", "--only", "a"]).stdout.contains("tl run --resume"), "the way to the rest");

    let (code, events) = run(&tl, &["--resume", id]);
    // A chain runs as a whole. The earlier result of `seal` had no consumer, so it is not reused.
    assert_eq!((code, done(&events)), (0, vec!["always", "c", "collect", "d", "deliver", "prove", "seal"]));
    assert!(left_out(&events).is_empty());
    let again = tl.run(&["run", "--resume", id]);
    assert!(again.code == 2 && again.stderr.contains("TL0781"), "{again:?}");
}

#[test]
fn what_is_named_is_done_again_and_nothing_else() {
    let tl = with_stages(STAGES);
    let (code, first) = run(&tl, &["p.yaml"]);
    assert_eq!((code, ran(&tl)), (0, ["a", "always", "b", "c", "d1", "d2"].map(str::to_owned).to_vec()));
    let id = first[0]["run"].as_str().unwrap();

    let (code, events) = run(&tl, &["--resume", id, "--from", "c"]);
    assert_eq!((code, done(&events), ran(&tl).join(" ")), (0, vec!["always", "c", "d"], "always c d1 d2".to_owned()));
    assert!(left_out(&events).is_empty(), "all the rest is done, and still there");

    // A stage that depends on it is outdated, so the run is no longer complete.
    let (code, events) = run(&tl, &["--resume", "p.yaml", "--only", "b"]);
    assert_eq!((code, done(&events), left_out(&events)), (0, vec!["always", "b"], vec!["d"]));
    let (code, events) = run(&tl, &["--resume"]);
    assert_eq!((code, done(&events), left_out(&events)), (0, vec!["always", "d", "prove"], vec![]));

    // A redelivered object replaces the run's own.
    let objects = files(&tl.file("shelf"));
    let (code, events) = run(&tl, &["--resume", id, "--only", "deliver"]);
    assert_eq!((code, done(&events)), (0, vec!["always", "collect", "deliver", "seal"]));
    assert_eq!((left_out(&events), files(&tl.file("shelf"))), (vec!["prove"], objects));
    let (code, events) = run(&tl, &["--resume", id]);
    assert_eq!((code, done(&events)), (0, vec!["always", "prove"]));
}

#[test]
fn what_is_left_out_cannot_fail() {
    let tl = with_stages(
        r#"inputs: { n: { type: int, default: 0 } }
stages:
  broken: { if: "always() && 1 / inputs.n == 1", run: ['false'] }
  spread: { if: always(), strategy: { matrix: { i: '${{ [1 / inputs.n] }}' } }, run: ['false'] }
  argument: { run: [echo, '${{ 1 / inputs.n }}'] }
  b: { run: ['true'] }
"#,
    );
    assert_eq!(run(&tl, &["p.yaml"]).0, 1);
    let (code, events) = run(&tl, &["p.yaml", "--only", "b"]);
    assert_eq!(
        (code, done(&events), left_out(&events)),
        (0, vec!["b"], vec!["broken", "spread", "argument"]),
        "{events:#?}"
    );
}

#[test]
fn a_part_is_told_to_nobody_as_a_success() {
    let tl = Tl::new();
    tl.write(
        "p.yaml",
        "version: 1\nname: test\nchannels: { log: { uses: file, with: { path: told.jsonl } } }\nstages:\n  \
         a: { run: [test, -e, good] }\n  b: { needs: a, run: ['true'] }\nnotify:\n  \
         - { when: [started, success, warning, failure, recovered], to: [log] }\nexpect: { success-every: 1d }\n",
    );
    let told = |tl: &Tl| -> Vec<String> {
        let text = std::fs::read_to_string(tl.file("told.jsonl")).unwrap_or_default();
        let when = |line: &str| serde_json::from_str::<Json>(line).unwrap()["when"].as_str().unwrap().to_owned();
        text.lines().map(when).collect()
    };
    assert_eq!(run(&tl, &["p.yaml", "--only", "a"]).0, 1);
    assert_eq!(told(&tl), ["failure"]);
    tl.write("good", "");
    assert_eq!(run(&tl, &["p.yaml", "--only", "a"]).0, 0);
    assert_eq!(told(&tl), ["failure"]);
    let stale: Json = serde_json::from_str(&tl.run(&["stale", "p.yaml", "--json"]).stdout).unwrap();
    assert!(stale["pipelines"][0]["last_success"].is_null(), "{stale}");
    // The first complete run is the recovery.
    assert_eq!(run(&tl, &["p.yaml"]).0, 0);
    assert_eq!(told(&tl), ["failure", "started", "recovered"]);
}

#[test]
fn what_failed_is_tried_again_also_where_it_was_forgiven() {
    let tl = with_stages(
        "stages:\n  a: { run: [sh, -c, 'echo a >> ran.txt'] }\n  \
         b: { needs: a, continue-on-error: true, run: [sh, -c, 'echo b >> ran.txt; test -e good'] }\n  \
         c: { needs: b, run: [sh, -c, 'echo c >> ran.txt'] }\n  \
         d: { needs: a, run: [sh, -c, 'echo d >> ran.txt'] }\n  \
         spooled: { uses: archive, with: { sources: [data] } }\n  \
         two: { needs: spooled, strategy: { matrix: { k: [a, b] } }, uses: upload, with: { artifact: '${{ needs.spooled.outputs.artifact }}', store: shelf, key: '${{ run.id }}-${{ matrix.k }}' } }\n",
    );
    let (code, first) = run(&tl, &["p.yaml"]);
    assert_eq!((code, ran(&tl).join(" ")), (3, "a b c d".to_owned()));
    let id = first[0]["run"].as_str().unwrap();
    assert!(tl.ok(&["show", id]).stdout.contains("tl run --rerun-failed"));
    tl.write("good", "");
    let (code, events) = run(&tl, &["--rerun-failed"]);
    assert_eq!((code, done(&events), ran(&tl).join(" ")), (0, vec!["b", "c"], "b c".to_owned()));
    let none = tl.run(&["run", "--rerun-failed", id]);
    assert!(none.code == 2 && none.stderr.contains("TL0781") && none.stderr.contains("no stage"), "{none:?}");
    let none = tl.run(&["run", "--rerun-failed"]);
    assert!(none.code == 2 && none.stderr.contains("TL0780"), "{none:?}");
}

#[test]
fn what_cannot_be_selected_is_said() {
    let tl = with_stages(STAGES);
    for (arguments, said) in [
        (&["run", "p.yaml", "--only", "colect"][..], "did you mean `collect`"),
        (&["run", "p.yaml", "--from", "nothing_like_it"], "TL0783"),
        (&["run", "p.yaml", "--from", "a", "--only", "b"], "cannot be used with"),
        (&["run", "p.yaml", "--rerun-failed", "--only", "b"], "cannot be used with"),
    ] {
        let ended = tl.run(arguments);
        assert!(ended.code == 2 && ended.stderr.contains(said), "{arguments:?}: {ended:?}");
    }
    tl.ok(&["plan", "p.yaml", "--out", "plan.json"]);
    let part = tl.run(&["run", "plan.json", "--only", "a"]);
    assert!(part.code == 2 && part.stderr.contains("TL0773"), "{part:?}");
    assert!(!tl.file("ran.txt").exists());
    // An interrupted run has no failure to retry.
    tl.pipeline("stages:\n  wait: { run: [sleep, '60'] }\n");
    let mut child = tl.start(&["run", "p.yaml", "--reporter", "json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let began = lines.find(|line| line.contains("stage-started")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let id = event(&began)["run"].as_str().unwrap().to_owned();
    let interrupted = tl.run(&["run", "--rerun-failed", &id]);
    assert!(interrupted.code == 2 && interrupted.stderr.contains("interrupted"), "{interrupted:?}");
}

/// An archive in a file, delivered twice, with a verification and a program.
const SPOOLED: &str = "stages:\n  collect: { uses: archive, with: { sources: [data] } }\n  \
    a: { needs: collect, uses: upload, with: { artifact: '${{ needs.collect.outputs.artifact }}', store: shelf, key: 'a-${{ run.id }}' } }\n  \
    b: { needs: collect, uses: upload, with: { artifact: '${{ needs.collect.outputs.artifact }}', store: shelf, key: 'b-${{ run.id }}' } }\n  \
    prove: { needs: a, uses: verify, with: { object: '${{ needs.a.outputs.object }}', level: content } }\n  \
    report: { needs: collect, continue-on-error: true, run: [test, -e, good] }\n";

#[test]
fn what_was_delivered_is_not_collected_anew_unless_that_is_asked_for() {
    let tl = with_stages(SPOOLED);
    let (code, first) = run(&tl, &["p.yaml"]);
    assert_eq!(code, 3);
    let id = first[0]["run"].as_str().unwrap();
    let object = |name: &str| std::fs::read(tl.file("shelf").join(format!("{name}-{id}"))).unwrap();
    let old = object("a");
    // The next run replaces its work folder and the artifact in it.
    tl.write("data/a.txt", "changed").write("good", "");
    assert_eq!(run(&tl, &["p.yaml"]).0, 0);

    let (code, events) = run(&tl, &["--rerun-failed", id]);
    assert_eq!((code, done(&events)), (0, vec!["prove", "report"]), "{events:#?}");
    let (code, events) = run(&tl, &["--resume", id, "--only", "prove"]);
    assert_eq!((code, done(&events)), (0, vec!["prove"]));
    let (code, events) = run(&tl, &["--resume", id, "--only", "report"]);
    assert_eq!((code, done(&events), left_out(&events)), (0, vec!["report"], vec![]));
    assert!(object("a") == old && object("b") == old);

    // A lost object is not silently replaced by another one.
    std::fs::remove_file(tl.file("shelf").join(format!("a-{id}"))).unwrap();
    let refused = tl.run(&["run", "--resume", id, "--only", "prove"]);
    assert!(
        refused.code == 1 && refused.stdout.contains("TL0639") && refused.stdout.contains("--from collect"),
        "{refused:?}"
    );
    assert!(!tl.file("shelf").join(format!("a-{id}")).exists() && object("b") == old);
    let (code, events) = run(&tl, &["--resume", id, "--from", "collect"]);
    assert_eq!((code, done(&events)), (0, vec!["a", "b", "collect", "prove", "report"]));
    assert!(object("a") == object("b") && object("b") != old);
}

#[test]
fn what_an_earlier_session_came_to_stays_known() {
    let tl = with_stages(SPOOLED);
    tl.write("good", "");
    let (_, first) = run(&tl, &["p.yaml"]);
    let id = first[0]["run"].as_str().unwrap();
    let stale = || {
        tl.run(&["stale", "p.yaml", "--json"]).stdout.parse::<Json>().unwrap()["pipelines"][0]["last_success"].clone()
    };
    let success = stale();
    assert!(success.is_string());
    // Redoing a stage reopens only the stages that need it. The rest stays as it was.
    let (code, events) = run(&tl, &["--resume", id, "--only", "a"]);
    assert_eq!((code, done(&events), left_out(&events)), (1, vec!["a"], vec![]), "{events:#?}");
    assert_eq!(stale(), success);
    let shown: Json = tl.ok(&["show", id, "--json"]).stdout.parse().unwrap();
    let named =
        |name: &str| shown["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == name).unwrap().clone();
    assert_eq!(
        (&named("b")["outcome"], &named("b")["outputs"]["object"]["key"]),
        (&"success".into(), &format!("b-{id}").into())
    );

    // A failure that was not retried remains a failure.
    std::fs::remove_file(tl.file("good")).unwrap();
    tl.pipeline("stages: { a: { run: ['true'] }, b: { run: [test, -e, good] } }\n");
    assert_eq!(run(&tl, &["p.yaml"]).0, 1);
    let (code, events) = run(&tl, &["--resume", "p.yaml", "--only", "a"]);
    assert_eq!((code, left_out(&events)), (0, vec!["b"]));
    assert!(tl.ok(&["show"]).stdout.contains("TL0651"), "the failure is still there");
    tl.write("good", "");
    let (code, events) = run(&tl, &["--rerun-failed", "p.yaml"]);
    assert_eq!((code, done(&events)), (0, vec!["b"]));
}

#[test]
fn a_session_tells_what_became_of_it_whatever_another_one_told() {
    let tl = Tl::new();
    tl.write(
        "p.yaml",
        "version: 1\nname: test\nchannels: { log: { uses: file, with: { path: told.jsonl } } }\nstages:\n  \
         a: { run: [test, -e, good] }\n  tell: { uses: notify, with: { to: [log], subject: hello, body: hello } }\nnotify:\n  \
         - { when: [success, failure], to: [log] }\n",
    );
    let told = |tl: &Tl| -> Vec<String> {
        let when = |line: &str| serde_json::from_str::<Json>(line).unwrap()["when"].as_str().unwrap().to_owned();
        tl.read("told.jsonl").lines().map(when).collect()
    };
    assert_eq!(run(&tl, &["p.yaml"]).0, 1);
    tl.write("good", "");
    assert_eq!(run(&tl, &["--resume"]).0, 0);
    std::fs::remove_file(tl.file("good")).unwrap();
    assert_eq!(run(&tl, &["--resume", "p.yaml", "--from", "a"]).0, 1);
    assert_eq!(told(&tl), ["stage", "failure", "success", "failure"]);
    // A selected message is sent again.
    assert_eq!(run(&tl, &["--resume", "p.yaml", "--only", "tell"]).0, 0);
    assert_eq!(told(&tl), ["stage", "failure", "success", "failure", "stage"]);
}

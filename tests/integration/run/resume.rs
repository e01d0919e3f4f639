//! Resuming runs that ended early.

use std::fs;

use serde_json::Value as Json;

use crate::support::{Ended, Tl, events, files, kill, outcomes, wait_for};

/// A chain, a diamond over a spooled artifact, a matrix, a program with an output, and a last stage that fails without
/// `go`.
const STAGES: &str = r#"stages:
  prepare: { run: 'echo ran >> ran.txt; echo "n=7" >> "$TL_OUTPUT"', shell: sh, outputs: { n: int } }
  collect: { needs: prepare, uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: '${{ run.id }}' } }
  many: { needs: prepare, strategy: { matrix: { i: [1, 2] } }, run: [sh, -c, 'echo $0-$1 >> many.txt', '${{ matrix.i }}', '${{ needs.prepare.outputs.n }}'] }
  spooled: { needs: prepare, uses: archive, with: { sources: [data] } }
  two: { needs: spooled, strategy: { matrix: { k: [a, b] } }, uses: upload, with: { artifact: '${{ needs.spooled.outputs.artifact }}', store: shelf, key: '${{ run.id }}-${{ matrix.k }}' } }
  prove: { needs: deliver, uses: verify, with: { object: '${{ needs.deliver.outputs.object }}', level: content } }
  last: { needs: [prove, many, two], run: [test, -e, go] }
finally:
  always: { run: 'echo over >> over.txt', shell: sh }
"#;

fn with_stages() -> Tl {
    let tl = Tl::new();
    tl.write("data/a.txt", "hello").pipeline(STAGES);
    tl
}

fn resumed(tl: &Tl, arguments: &[&str]) -> (Ended, Vec<Json>) {
    let ended = tl.run(&[&["run", "--resume", "--reporter", "json"], arguments].concat());
    let events = events(&ended.stdout);
    (ended, events)
}

/// The stages, or their instances, that this session ran itself.
fn done(events: &[Json]) -> Vec<String> {
    let ends = events.iter().filter(|event| event["event"] == "stage-ended" && event["recalled"] != true);
    let mut done: Vec<String> = ends
        .filter(|event| !(event["instance"].is_null() && ["many", "two"].contains(&event["stage"].as_str().unwrap())))
        .map(|event| format!("{}{}", event["stage"].as_str().unwrap(), event["instance"].as_str().unwrap_or_default()))
        .collect();
    done.sort();
    done
}

#[test]
fn what_is_done_and_still_there_is_not_done_again() {
    let tl = with_stages();
    let (code, first) = tl.events(&[]);
    assert_eq!(code, 1);
    let run = first[0]["run"].as_str().unwrap();
    let objects = files(&tl.file("shelf"));
    assert_eq!(objects.len(), 6);

    tl.write("go", "");
    let (ended, events) = resumed(&tl, &[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!((events[0]["run"].as_str(), &events[0]["session"]), (Some(run), &Json::from(2)));
    assert_eq!(done(&events), ["always", "last", "prove"]);
    assert!(outcomes(&events).iter().all(|(_, outcome)| outcome == "success"));
    assert_eq!((tl.read("ran.txt"), tl.read("over.txt")), ("ran\n".to_owned(), "over\nover\n".to_owned()));
    assert_eq!(files(&tl.file("shelf")), objects);
    // The work folder is gone, and the log has both sessions.
    assert_eq!(files(&tl.file("state/work")), ["lock"]);
    let log = tl.ok(&["audit", "show", "--run", run]).stdout;
    assert!(log.contains("run.started") && log.contains("run.resumed"), "{log}");
    tl.ok(&["audit", "verify"]);

    let again = tl.run(&["run", "--resume", run]);
    assert!(again.code == 2 && again.stderr.contains("TL0781"), "{again:?}");
}

#[test]
fn what_is_gone_or_changed_is_done_again_with_all_that_waits_for_it() {
    let gone = |what: fn(&Tl, &str)| {
        let tl = with_stages();
        let (code, first) = tl.events(&[]);
        assert_eq!(code, 1);
        what(&tl, first[0]["run"].as_str().unwrap());
        tl.write("go", "");
        let (ended, events) = resumed(&tl, &["data/../p.yaml"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        done(&events)
    };
    // A deleted object: it is delivered and verified again.
    let object = gone(|tl, run| {
        fs::remove_file(tl.file("shelf").join(run)).unwrap();
        fs::remove_file(tl.file("shelf").join(format!("{run}.sha256"))).unwrap();
    });
    assert_eq!(object, ["always", "collect", "deliver", "last", "prove", "seal"]);
    // A damaged artifact in the work folder.
    let artifact =
        gone(|tl, run| fs::write(tl.file("state/work").join(run).join("spooled-1-1.artifact"), "x").unwrap());
    // No stage needs it: all objects made from it exist.
    assert_eq!(artifact, ["always", "last", "prove"]);
    // Changed settings of a stage.
    let settings = gone(|tl, _| {
        let text = tl.read("p.yaml").replace("'echo $0-$1 >> many.txt'", "'echo $0+$1 >> many.txt'");
        tl.write("p.yaml", text);
    });
    assert_eq!(settings, ["always", "last", "many1", "many2", "prove"]);
    // Changed recipients.
    let recipients = gone(|tl, _| {
        tl.ok(&["key", "new", "-o", "other.txt", "--recipients", "others.txt"]);
        tl.write("recipients.txt", tl.read("recipients.txt") + &tl.read("others.txt"));
    });
    assert_eq!(recipients, ["always", "collect", "deliver", "last", "prove", "seal"]);
}

#[test]
fn what_cannot_be_resumed_is_said() {
    let tl = with_stages();
    let none = tl.run(&["run", "--resume"]);
    assert!(none.code == 2 && none.stderr.contains("TL0780"), "{none:?}");
    let unknown = tl.run(&["run", "--resume", "01M868GC6HCWG7CA71SSAS5K5K"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("TL0760"), "{unknown:?}");
    let inputs = tl.run(&["run", "p.yaml", "--resume", "--input", "a=b"]);
    assert!(inputs.code == 2 && inputs.stderr.contains("cannot be used with"), "{inputs:?}");
    assert_eq!(tl.events(&[]).0, 1);
    tl.write("p.yaml", tl.read("p.yaml").replace("name: test", "name: other"));
    let other = tl.run(&["run", "--resume"]);
    assert!(other.code == 2 && other.stderr.contains("TL0781"), "{other:?}");
    // Two pipelines have a run to resume.
    assert_eq!(tl.events(&[]).0, 1);
    let several = tl.run(&["run", "--resume"]);
    assert!(several.code == 2 && several.stderr.contains("several runs"), "{several:?}");
}

#[test]
fn one_process_has_a_run() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  wait: { run: 'echo > began; test -e go || sleep 60', shell: sh }\n");
    let mut first = tl.start(&["run", "p.yaml"]);
    wait_for(|| tl.file("began").exists());
    let busy = tl.run(&["run", "--resume"]);
    assert!(busy.code == 11 && busy.stdout.contains("TL0782"), "{busy:?}");
    kill(&mut first);
    tl.write("go", "");
    assert_eq!(tl.run(&["run", "--resume"]).code, 0);
}

#[test]
fn a_database_that_is_damaged_stops_no_run() {
    let tl = with_stages();
    tl.write("go", "").write("state/state.db", "no database at all, but long enough to be looked at");
    fs::set_permissions(tl.state(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 0, "{events:?}");
    assert!(events.iter().any(|event| event["event"] == "problem" && event["error"]["code"] == "TL0718"), "{events:?}");
}

#[test]
fn nothing_goes_on_beside_a_program_of_a_killed_run() {
    let tl = Tl::new();
    // It takes a while to end, and leaves a mark when it does.
    let slow = "trap '' TERM; echo > began; sleep 1; echo > ended";
    tl.pipeline(&format!(
        "concurrency: {{ group: g, if-busy: fail }}\nstages:\n  slow: {{ shell: sh, run: \"test -e go || ({slow})\" }}\n"
    ));
    let mut first = tl.start(&["run", "p.yaml"]);
    wait_for(|| tl.file("began").exists());
    kill(&mut first);
    tl.write("go", "");
    let other = tl.run(&["run", "p.yaml"]);
    assert!(other.code == 11 && other.stdout.contains("TL0722"), "{other:?}");
    assert!(!tl.file("ended").exists());
    let resumed = tl.run(&["run", "--resume"]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert!(tl.file("ended").exists(), "it has waited for the program");
}

#[test]
fn another_secret_is_another_setting_and_another_value_is_none() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets:\n  one: { from: file, path: one }\n  two: { from: file, path: two }\nstages:\n  a: { env: { S: '${{ secrets.one }}' }, run: 'echo x \
         >> ran.txt', shell: sh }\n  b: { needs: a, run: [test, -e, go] }\n",
    );
    tl.write("one", "the-first-secret").write("two", "the-second-secret");
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    tl.write("one", "the-same-but-rotated");
    assert_eq!(tl.run(&["run", "--resume"]).code, 1);
    assert_eq!(tl.read("ran.txt"), "x\n");
    tl.write("p.yaml", tl.read("p.yaml").replace("secrets.one }}", "secrets.two }}"));
    assert_eq!(tl.run(&["run", "--resume"]).code, 1);
    assert_eq!(tl.read("ran.txt"), "x\nx\n");
}

#[test]
fn a_run_that_did_nothing_hides_none_that_can_go_on() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets: { s: { from: file, path: s } }\nstages:\n  a: { run: 'echo x >> ran.txt', shell: sh }\n  b: { needs: a, env: { S: '${{ secrets.s \
         }}' }, run: [test, -e, go] }\n",
    );
    tl.write("s", "long-enough-to-hide");
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    fs::remove_file(tl.file("s")).unwrap();
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 12);
    tl.write("s", "long-enough-to-hide").write("go", "");
    assert_eq!(tl.run(&["run", "--resume"]).code, 0);
    assert_eq!(tl.read("ran.txt"), "x\n");
}

/// A stage that an earlier session did keeps the times of its work, and so do its instances and their sum.
#[test]
fn the_history_tells_of_the_work_and_not_of_the_look_at_it() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  one: { run: [sleep, '0.2'] }\n  many: { strategy: { matrix: { i: [1, 2] } }, run: [sleep, '0.2'] }\n  last: { \
         needs: [one, many], run: [test, -e, go] }\n",
    );
    let stages = || -> Vec<Json> {
        let shown: Json = serde_json::from_str(&tl.ok(&["show", "--json"]).stdout).unwrap();
        shown["stages"].as_array().unwrap().iter().filter(|stage| stage["stage"] != "last").cloned().collect()
    };
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    let before = stages();
    tl.write("go", "");
    let (_, events) = resumed(&tl, &[]);
    let ends = events.iter().filter(|event| event["event"] == "stage-ended" && event["stage"] != "last");
    assert!(ends.clone().count() == 4 && ends.clone().all(|event| event["recalled"] == true), "{events:#?}");
    let after = stages();
    assert_eq!((before.len(), &before), (4, &after));
    assert!(after.iter().all(|stage| stage["seconds"].as_f64().unwrap() > 0.1 && stage["session"] == 1), "{after:#?}");
}

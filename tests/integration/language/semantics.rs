//! The meaning of a file, tested through the real program: matrix, `extends`, merge keys, `on-warning`, and values
//! known at the start of a run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
#[cfg(feature = "peers")]
use std::process::Command;

use crate::support::{CHAIN, Tl, collected, ended, error_of, events, files, outcomes, pairs, signal, wait_for};
use rustix::process::Signal;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

/// A file of these stages with two stores, `shelf` and `attic`, both there.
fn with_two_stores(tl: &Tl, rest: &str) {
    tl.pipeline("");
    fs::create_dir_all(tl.file("attic")).unwrap();
    tl.write(
        "p.yaml",
        format!(
            "version: 1\nname: test\nstores:\n  shelf: {{ uses: dir, with: {{ path: shelf }} }}\n  attic: {{ uses: dir, with: {{ \
             path: attic }} }}\nchannels:\n  log: {{ uses: file, with: {{ path: log.jsonl }} }}\n{rest}"
        ),
    );
}

/// The ends of a stage: those of its instances, and finally its own.
fn ends<'a>(events: &'a [Json], stage: &str) -> Vec<&'a Json> {
    events.iter().filter(|event| event["event"] == "stage-ended" && event["stage"] == stage).collect()
}

/// The end of a stage as a whole. Occurs exactly once, after its instances.
fn whole<'a>(events: &'a [Json], stage: &str) -> &'a Json {
    let ends = ends(events, stage);
    let (last, instances) = ends.split_last().unwrap_or_else(|| panic!("{stage} did not end"));
    assert!(last.get("instance").is_none(), "{stage} ended before an instance of it");
    assert!(instances.iter().all(|end| end.get("instance").is_some()), "{stage} ended twice");
    last
}

/// How each instance of a stage ended, by label. Each ends exactly once.
fn instances(events: &[Json], stage: &str) -> Vec<(String, String)> {
    let mut all = BTreeMap::new();
    for end in ends(events, stage) {
        if let Some(label) = end.get("instance") {
            let outcome = end["outcome"].as_str().unwrap().to_owned();
            let before = all.insert(label.as_str().unwrap().to_owned(), outcome);
            assert_eq!(before, None, "{stage} ({label}) ended twice");
        }
    }
    all.into_iter().collect()
}

fn instance<'a>(events: &'a [Json], stage: &str, label: &str) -> &'a Json {
    ends(events, stage).into_iter().find(|end| end["instance"] == label).unwrap()
}

/// How each stage ended as a whole.
fn wholes(events: &[Json]) -> Vec<(String, String)> {
    let whole = events.iter().filter(|event| event["event"] == "stage-ended" && event.get("instance").is_none());
    let mut all: Vec<(String, String)> = whole
        .map(|end| (end["stage"].as_str().unwrap().to_owned(), end["outcome"].as_str().unwrap().to_owned()))
        .collect();
    all.sort();
    all
}

fn records(tl: &Tl, kind: &str) -> Vec<Json> {
    let shown = tl.ok(&["audit", "show", "--type", kind, "--json"]).stdout;
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn opened(tl: &Tl, object: &str) -> Vec<u8> {
    let name = format!("opened-{}", object.replace('/', "-"));
    tl.ok(&["open", "-i", "identity.txt", "-o", &name, object]);
    fs::read(tl.file(&name)).unwrap()
}

const SEALED: &str = r"stages:
  collect: { uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver:
    needs: seal
    strategy: { matrix: { store: [shelf, attic] } }
    uses: upload
    with: { artifact: '${{ needs.seal.outputs.artifact }}', store: '${{ matrix.store }}', key: object }
  prove:
    needs: deliver
    strategy: { matrix: { object: '${{ needs.deliver.outputs.object }}' } }
    uses: verify
    with: { object: '${{ matrix.object }}', level: content }
";

#[test]
fn one_artifact_goes_to_every_store_and_each_object_is_proven() {
    let tl = Tl::new();
    tl.write("data/a", vec![7; 3 << 20]);
    with_two_stores(&tl, &format!("{SEALED}notify:\n  - {{ when: [success], to: [log] }}\n"));
    let (code, events) = tl.events(&[]);
    let expected = pairs(&[("collect", "success"), ("deliver", "success"), ("prove", "success"), ("seal", "success")]);
    assert_eq!((code, wholes(&events)), (0, expected));
    assert_eq!(instances(&events, "deliver"), pairs(&[("attic", "success"), ("shelf", "success")]));
    // An object has no short label, so instances are numbered.
    assert_eq!(instances(&events, "prove"), pairs(&[("#1", "success"), ("#2", "success")]));

    // In the order of the file, not in the order in which they ended.
    let objects = whole(&events, "deliver")["outputs"]["object"].as_array().unwrap();
    let uris: Vec<&str> = objects.iter().map(|object| object["uri"].as_str().unwrap()).collect();
    assert!(uris.len() == 2 && uris[0].ends_with("/shelf/object") && uris[1].ends_with("/attic/object"), "{uris:?}");
    let size = fs::metadata(tl.file("shelf/object")).unwrap().len();
    assert_eq!(whole(&events, "prove")["outputs"]["checked_bytes"], json!([size, size]));
    assert_eq!(whole(&events, "prove")["outputs"]["level"], json!(["content", "content"]));

    assert_eq!(fs::read(tl.file("shelf/object")).unwrap(), fs::read(tl.file("attic/object")).unwrap());
    let tar = opened(&tl, "shelf/object");
    assert_eq!(tar, opened(&tl, "attic/object"));
    assert_eq!(tar::Archive::new(&tar[..]).entries().unwrap().count(), 2);

    // Messages and the audit log list each instance.
    let told = tl.read("log.jsonl");
    assert!(
        told.contains("deliver (shelf)") && told.contains("deliver (attic)") && told.contains("prove (#2)"),
        "{told}"
    );
    let mut recorded: Vec<String> = records(&tl, "stage.ended")
        .iter()
        .filter(|record| record["data"]["stage"] == "deliver")
        .map(|record| format!("{} {}", record["data"]["instance"], record["data"]["outcome"]))
        .collect();
    recorded.sort();
    assert_eq!(recorded, [r#""attic" "success""#, r#""shelf" "success""#, r#"null "success""#]);
    tl.ok(&["audit", "verify"]);
}

#[test]
fn what_one_of_the_stores_lost_is_found_by_its_instance_alone() {
    let tl = Tl::new();
    tl.write("data/a", "hello");
    let spoil =
        "  spoil: { needs: deliver, run: [sh, -c, 'printf x >> attic/object'] }\n  prove:\n    needs: [deliver, spoil]";
    with_two_stores(&tl, &SEALED.replace("  prove:\n    needs: deliver", spoil));
    let (code, events) = tl.events(&[]);
    // Delivered, but not verified.
    assert_eq!(code, 4);
    assert_eq!(instances(&events, "prove"), pairs(&[("#1", "success"), ("#2", "failure")]));
    assert_eq!(whole(&events, "prove")["outcome"], "failure");
    assert_eq!(whole(&events, "prove")["reason"], "1 of 2 instances: failure");
    assert_eq!(whole(&events, "prove")["outputs"]["level"], json!(["content", null]));
}

#[test]
fn each_artifact_of_a_matrix_goes_its_own_way() {
    let tl = Tl::new();
    tl.write("one/a", "1").write("two/b", vec![2; 1 << 20]);
    tl.pipeline(
        r"stages:
  collect:
    strategy: { matrix: { folder: [one, two] } }
    uses: archive
    with: { sources: ['${{ matrix.folder }}'] }
  deliver:
    needs: collect
    strategy:
      matrix:
        include:
          - { name: first, artifact: '${{ needs.collect.outputs.artifact[0] }}' }
          - { name: second, artifact: '${{ needs.collect.outputs.artifact[1] }}' }
    uses: upload
    with: { artifact: '${{ matrix.artifact }}', store: shelf, key: '${{ matrix.name }}.tar' }
  again:
    needs: collect
    strategy: { matrix: { artifact: '${{ needs.collect.outputs.artifact }}' } }
    uses: encrypt
    with: { artifact: '${{ matrix.artifact }}', recipients-file: recipients.txt }
  last:
    needs: again
    uses: upload
    with: { artifact: '${{ needs.again.outputs.artifact[1] }}', store: shelf, key: sealed }
",
    );
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 0, "{events:#?}");
    let names = |bytes: &[u8]| -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    };
    let second = fs::read(tl.file("shelf/second.tar")).unwrap();
    assert_eq!(names(&fs::read(tl.file("shelf/first.tar")).unwrap()), ["one/", "one/a"]);
    assert_eq!(names(&second), ["two/", "two/b"]);
    assert_eq!(opened(&tl, "shelf/sealed"), second);
    assert_eq!(whole(&events, "collect")["outputs"]["files"], json!([1, 1]));
}

#[test]
fn combinations_are_left_out_added_and_called_by_their_values() {
    let tl = Tl::new();
    tl.pipeline(
        r#"stages:
  a:
    strategy:
      matrix:
        table: [orders, invoices]
        year: [2025, 2026]
        exclude: [{ table: invoices, year: 2025 }]
        include:
          - { table: orders, year: 2026, note: new }
          - { table: audit, year: 2020 }
    shell: sh
    env: { WHAT: "${{ matrix.table }} ${{ matrix.year }} ${{ matrix.note == null ? 'none' : matrix.note }}" }
    run: 'echo "$TL_STAGE/$TL_INSTANCE: $WHAT"'
notify:
  - { when: [success], to: [log] }
"#,
    );
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 0, "{events:#?}");
    let labels = ["audit, 2020, -", "invoices, 2026, -", "orders, 2025, -", "orders, 2026, new"];
    assert_eq!(instances(&events, "a"), labels.map(|label| (label.to_owned(), "success".to_owned())));
    let lines = events.iter().filter(|event| event["event"] == "stage-output");
    let mut lines: Vec<(&str, &str)> =
        lines.map(|event| (event["instance"].as_str().unwrap(), event["line"].as_str().unwrap())).collect();
    lines.sort_unstable();
    let expected = [
        (labels[0], "a/audit, 2020, -: audit 2020 none"),
        (labels[1], "a/invoices, 2026, -: invoices 2026 none"),
        (labels[2], "a/orders, 2025, -: orders 2025 none"),
        (labels[3], "a/orders, 2026, new: orders 2026 new"),
    ];
    assert_eq!(lines, expected);
    let shown = tl.ok(&["run", "p.yaml"]).stdout;
    let told = tl.read("log.jsonl");
    for label in labels {
        assert!(shown.contains(&format!("a ({label}) | a/{label}: ")), "{shown}");
        assert!(told.contains(&format!("a ({label})")), "{told}");
    }
}

#[test]
fn outputs_are_lists_in_the_order_of_the_file_and_a_gap_is_null() {
    let tl = Tl::new();
    tl.pipeline(
        r#"stages:
  count:
    # The last one ends first.
    strategy: { matrix: { n: [3, 2, 1] } }
    continue-on-error: true
    outputs: { twice: int }
    shell: sh
    env: { N: "${{ matrix.n }}" }
    run: |
      sleep 0.$N
      test "$N" != 2
      echo "twice=$((N * 2))" >> "$TL_OUTPUT"
  each:
    needs: count
    strategy: { matrix: { twice: "${{ needs.count.outputs.twice }}" } }
    run: [echo, "${{ matrix.twice + 1 }}"]
  after:
    needs: count
    if: always()
    run: [echo, "${{ needs.count.result }} ${{ needs.count.outputs.twice[1] == null }} ${{ size(needs.count.outputs.twice) }}"]
"#,
    );
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 3, "{events:#?}");
    assert_eq!(whole(&events, "count")["outputs"], json!({ "twice": [6, null, 2] }));
    assert_eq!(instances(&events, "count"), pairs(&[("1", "success"), ("2", "warning"), ("3", "success")]));
    assert_eq!(instances(&events, "each"), pairs(&[("-", "skipped"), ("2", "success"), ("6", "success")]));
    assert_eq!(instance(&events, "each", "-")["reason"], "its value in the matrix is null");
    // The stage counts as skipped only if all instances were.
    assert_eq!(whole(&events, "each")["outcome"], "success");
    let said = |stage: &str| -> Vec<&str> {
        let of_stage = events.iter().filter(|event| event["event"] == "stage-output" && event["stage"] == stage);
        of_stage.map(|event| event["line"].as_str().unwrap()).collect()
    };
    assert_eq!(said("after"), ["warning true 3"]);
    let mut each = said("each");
    each.sort_unstable();
    assert_eq!(each, ["3", "7"]);
}

#[test]
fn without_fail_fast_the_others_end_by_themselves_and_dependants_are_skipped() {
    let tl = Tl::new();
    tl.pipeline(
        r#"stages:
  a:
    strategy: { matrix: { n: [good, bad, late] } }
    run: [sh, -c, 'test "$TL_INSTANCE" != bad && touch "did-$TL_INSTANCE"']
  b: { needs: a, run: [touch, never] }
  c: { needs: a, if: failure(), run: [touch, told] }
finally:
  d: { run: [test, "${{ stages.a.result }} ${{ stages.b.result }}", "=", failure skipped] }
"#,
    );
    let (code, events) = tl.events(&[]);
    let expected = pairs(&[("a", "failure"), ("b", "skipped"), ("c", "success"), ("d", "success")]);
    assert_eq!((code, wholes(&events)), (1, expected));
    assert_eq!(instances(&events, "a"), pairs(&[("bad", "failure"), ("good", "success"), ("late", "success")]));
    assert_eq!(instance(&events, "a", "bad")["error"]["code"], "TL0651");
    assert!(tl.file("did-good").exists() && tl.file("did-late").exists() && !tl.file("never").exists());
    // The audit log has the outcome of each instance.
    let bad: Vec<Json> =
        records(&tl, "stage.ended").into_iter().filter(|record| record["data"]["instance"] == "bad").collect();
    assert!(bad.len() == 1 && bad[0]["data"]["outcome"] == "failure", "{bad:?}");
}

#[test]
fn fail_fast_ends_running_instances_with_their_programs_and_starts_no_more() {
    let tl = Tl::new();
    tl.pipeline(
        r#"stages:
  a:
    strategy: { matrix: { n: [sleeper, bad, waiting] }, fail-fast: true, max-parallel: 2 }
    shell: sh
    run: |
      touch "began-$TL_INSTANCE"
      if [ "$TL_INSTANCE" = bad ]; then
        while [ ! -s pid ]; do sleep 0.05; done
        exit 1
      fi
      sleep 300 & echo $! > pid.new && mv pid.new pid
      wait
"#,
    );
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 1, "{events:#?}");
    let expected = pairs(&[("bad", "failure"), ("sleeper", "cancelled"), ("waiting", "cancelled")]);
    assert_eq!(instances(&events, "a"), expected);
    for label in ["sleeper", "waiting"] {
        assert_eq!(instance(&events, "a", label)["reason"], "another instance failed");
    }
    assert!(tl.file("began-sleeper").exists() && !tl.file("began-waiting").exists());
    let pid = tl.read("pid").trim().to_owned();
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "the program lives on: {state}");
}

#[test]
fn at_most_so_many_instances_run_at_once() {
    let tl = Tl::new();
    // If two ran at once, one would find the folder of the other.
    let alone = "mkdir busy || exit 9; sleep 0.1; rmdir busy";
    tl.pipeline(&format!(
        "stages:\n  a:\n    strategy: {{ matrix: {{ n: [1, 2, 3, 4] }}, max-parallel: 1 }}\n    shell: sh\n    run: '{alone}'\n"
    ));
    tl.ok(&["run", "p.yaml"]);
    // Each waits for the other.
    let together = "touch here-$TL_INSTANCE; while [ ! -e here-1 ] || [ ! -e here-2 ]; do sleep 0.02; done";
    tl.pipeline(&format!(
        "max-parallel: 4\nstages:\n  a:\n    strategy: {{ matrix: {{ n: [1, 2] }}, max-parallel: 2 }}\n    timeout: 1m\n    \
         shell: sh\n    run: '{together}'\n"
    ));
    tl.ok(&["run", "p.yaml"]);
}

#[test]
fn each_instance_is_tried_again_by_itself() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a:\n    strategy: { matrix: { n: [1, 3] } }\n    retry: { attempts: 3, delay: 10ms, exit-codes: [9] }\n    \
         shell: sh\n    run: 'echo x >> tries-$TL_INSTANCE; test $(wc -l < tries-$TL_INSTANCE) -ge $TL_INSTANCE || exit 9'\n",
    );
    let (code, events) = tl.events(&[]);
    assert_eq!((code, instances(&events, "a")), (0, pairs(&[("1", "success"), ("3", "success")])));
    let mut attempts: Vec<(&str, u64)> = events
        .iter()
        .filter(|event| event["event"] == "stage-started")
        .map(|event| (event["instance"].as_str().unwrap(), event["attempt"].as_u64().unwrap()))
        .collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [("1", 1), ("3", 1), ("3", 2), ("3", 3)]);
    let retried: Vec<Json> = records(&tl, "stage.retrying").iter().map(|one| one["data"]["instance"].clone()).collect();
    assert_eq!(retried, ["3", "3"]);
}

#[test]
fn a_list_that_is_empty_skips_and_one_that_is_too_long_fails() {
    let tl = Tl::new();
    let list = |numbers: usize| {
        format!(
            "${{{{ [{}].filter(n, n <= inputs.most) }}}}",
            (1..=numbers).map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
        )
    };
    tl.pipeline(&format!(
        "inputs: {{ most: {{ type: int }} }}\nstages:\n  a:\n    strategy: {{ matrix: {{ x: '{0}', y: '{0}' }} }}\n    run: [echo, '${{{{ matrix.x }}}}']\n  b: {{ needs: a, run: [touch, never] }}\n",
        list(40)
    ));
    let (code, events) = tl.events(&["--input", "most=0"]);
    assert_eq!((code, wholes(&events)), (75, pairs(&[("a", "skipped"), ("b", "skipped")])));
    assert_eq!(whole(&events, "a")["reason"], "its matrix has no values");
    let (code, events) = tl.events(&["--input", "most=2"]);
    assert_eq!((code, instances(&events, "a").len()), (0, 4));
    fs::remove_file(tl.file("never")).unwrap();

    let (code, events) = tl.events(&["--input", "most=40"]);
    assert_eq!((code, wholes(&events)), (1, pairs(&[("a", "failure"), ("b", "skipped")])));
    assert_eq!(error_of(&events, "a"), "TL0410");
    assert_eq!(whole(&events, "a")["error"]["place"]["line"], 10, "{events:#?}");
    assert!(!tl.file("never").exists());
}

#[test]
fn only_an_instance_has_the_name_of_one() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  one: { shell: sh, run: 'test -z \"${TL_INSTANCE+set}\"' }\n  some:\n    strategy: { matrix: { word: [\"a b\"] } }\n    \
         shell: sh\n    run: 'test \"$TL_INSTANCE\" = \"a b\"'\n",
    );
    tl.ok(&["run", "p.yaml"]);
}

#[test]
fn ctrl_c_ends_every_instance_once_and_finally_sees_it() {
    let tl = Tl::new();
    tl.pipeline(
        r#"stages:
  a:
    strategy: { matrix: { n: [1, 2, 3] }, max-parallel: 2 }
    shell: sh
    run: 'touch "began-$TL_INSTANCE"; sleep 300 & wait'
  b:
    needs: a
    strategy: { matrix: { n: [1, 2] } }
    run: [touch, never]
finally:
  f:
    strategy: { matrix: { word: ["${{ stages.a.result }}", "${{ stages.b.result }}!"] } }
    run: [touch, "${{ matrix.word }}"]
"#,
    );
    let run = tl.start(&["run", "p.yaml", "--reporter", "json"]);
    wait_for(|| tl.file("began-1").exists() && tl.file("began-2").exists());
    signal(&run, Signal::INT);
    let ended = collected(run);
    assert_eq!(ended.code, 130, "{ended:?}");
    let events = events(&ended.stdout);
    assert_eq!(wholes(&events), pairs(&[("a", "cancelled"), ("b", "cancelled"), ("f", "success")]));
    assert_eq!(instances(&events, "a"), pairs(&[("1", "cancelled"), ("2", "cancelled"), ("3", "cancelled")]));
    assert_eq!(instance(&events, "a", "1")["reason"], "the run was stopped");
    assert_eq!(instance(&events, "a", "3")["reason"], "the run was stopped before it began");
    assert!(instances(&events, "b").is_empty(), "it has no instances before it begins");
    assert!(tl.file("cancelled").exists() && tl.file("cancelled!").exists());
    assert!(!tl.file("began-3").exists() && !tl.file("never").exists());
    tl.ok(&["audit", "verify"]);
}

#[test]
fn a_warning_is_what_the_file_makes_of_it() {
    let tl = Tl::unprivileged();
    tl.write("data/a", "readable").write("data/b", "not for everybody");
    fs::set_permissions(tl.file("data/b"), fs::Permissions::from_mode(0o000)).unwrap();
    for (head, setting, code, outcome) in [
        ("", "", 3, "warning"),
        ("", "on-warning: warn,", 3, "warning"),
        ("", "on-warning: ignore,", 0, "success"),
        ("", "on-warning: fail,", 1, "failure"),
        ("", "on-warning: fail, continue-on-error: true,", 3, "warning"),
        ("defaults: { on-warning: fail }\n", "", 1, "failure"),
        ("defaults: { on-warning: fail }\n", "on-warning: ignore,", 0, "success"),
        (
            "inputs: { strict: { type: string, enum: [ignore, fail], default: fail } }\n",
            "on-warning: '${{ inputs.strict }}',",
            1,
            "failure",
        ),
    ] {
        tl.pipeline(&format!(
            "{head}stages:\n  a: {{ {setting} uses: archive, with: {{ sources: [data] }} }}\n  b: {{ needs: a, run: ['true'] }}\n"
        ));
        let (got, events) = tl.events(&[]);
        assert_eq!((got, whole(&events, "a")["outcome"].as_str()), (code, Some(outcome)), "{head}{setting}");
        // The warning is reported, whatever it leads to.
        let warned = events.iter().filter(|event| event["event"] == "stage-warning").count();
        assert_eq!(warned, 1, "{head}{setting}");
        let expected = if setting.contains("fail,") || code == 1 { "TL0609" } else { "" };
        assert_eq!(error_of(&events, "a"), expected, "{head}{setting}");
        assert_eq!(whole(&events, "b")["outcome"], if code == 1 { "skipped" } else { "success" }, "{head}{setting}");
    }
}

#[test]
fn what_a_chain_gives_is_not_delivered_where_its_warning_fails_it() {
    let tl = Tl::unprivileged();
    tl.write("data/a", "readable").write("data/b", "not for everybody");
    fs::set_permissions(tl.file("data/b"), fs::Permissions::from_mode(0o000)).unwrap();
    tl.pipeline(&format!("defaults: {{ on-warning: fail }}\nstages:\n{CHAIN}"));
    let (code, events) = tl.events(&[]);
    assert_eq!((code, error_of(&events, "collect").as_str()), (1, "TL0609"), "{events:#?}");
    assert_eq!(outcomes(&events), pairs(&[("collect", "failure"), ("deliver", "skipped"), ("seal", "skipped")]));
    assert!(files(&tl.file("shelf")).is_empty(), "{:?}", files(&tl.file("shelf")));
}

/// A file in its own folder, next to everything that it names.
fn base(tl: &Tl) {
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
    fs::create_dir_all(tl.file("base/shelf")).unwrap();
    fs::rename(tl.file("recipients.txt"), tl.file("base/recipients.txt")).unwrap();
    tl.write("base/data/a", "hello").write("base/message.hbs", "{{pipeline}} of the base\n").write(
        "base/base.yaml",
        r"version: 1
stores:
  shelf: { uses: dir, with: { path: shelf } }
channels:
  log: { uses: file, with: { path: log.jsonl } }
stages:
  collect: { uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: object, overwrite: true } }
notify:
  - { when: [success], to: [log], template: message.hbs }
",
    );
}

fn archived(tl: &Tl, object: &str) -> Vec<String> {
    let tar = opened(tl, object);
    let mut archive = tar::Archive::new(&tar[..]);
    archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

#[test]
fn a_path_means_what_it_means_in_the_file_that_holds_it() {
    let tl = Tl::new();
    base(&tl);
    tl.write("p.yaml", "version: 1\nname: test\nextends: base/base.yaml\n");
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(archived(&tl, "base/shelf/object"), ["data/", "data/a"]);
    let told = tl.read("base/log.jsonl");
    assert!(told.contains("test of the base"), "{told}");
    let preview = tl.ok(&["notify", "preview", "p.yaml", "--when", "success"]).stdout;
    assert!(preview.contains("test of the base"), "{preview}");

    // Paths in the extending file are relative to that file.
    fs::create_dir(tl.file("mine")).unwrap();
    tl.write("own/b", "mine").write("own.hbs", "{{pipeline}} of its own\n").write(
        "p.yaml",
        r"version: 1
name: test
extends: base/base.yaml
stores: { shelf: { with: { path: mine } } }
stages: { collect: { with: { sources: [own] } } }
notify:
  - { when: [success], to: [log], template: own.hbs }
",
    );
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(archived(&tl, "mine/object"), ["own/", "own/b"]);
    // The channel still comes from the base.
    let told = tl.read("base/log.jsonl");
    assert!(told.lines().last().unwrap().contains("test of its own"), "{told}");
    assert!(!tl.file("log.jsonl").exists() && !tl.file("shelf").exists());
}

#[test]
fn a_mistake_in_a_base_names_the_base() {
    let tl = Tl::new();
    base(&tl);
    tl.write("p.yaml", "version: 1\nname: test\nextends: base/base.yaml\n");
    let text = tl.read("base/base.yaml");
    for (right, wrong, marked) in [
        ("sources: [data]", "sauces: [data]", "sauces"),
        ("template: message.hbs", "template: gone.hbs", "gone.hbs"),
        ("needs: seal", "needs: ship", "ship"),
        ("path: log.jsonl", "path: 7", "7"),
    ] {
        let text = text.replace(right, wrong);
        tl.write("base/base.yaml", &text);
        let (line, column) = text
            .lines()
            .enumerate()
            .find_map(|(number, line)| Some((number + 1, line.find(wrong)? + wrong.find(marked).unwrap() + 1)))
            .unwrap();
        let ended = tl.run(&["run", "p.yaml"]);
        let place = format!("--> base/base.yaml:{line}:{column}\n");
        assert!(ended.code == 2 && ended.stderr.contains(&place), "{wrong}: {ended:?}");
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_chain_of_files_is_one_pipeline_and_each_file_is_on_record() {
    let tl = Tl::new();
    tl.write("org/policy.yaml", "version: 1\npolicy: { allow-run: [echo, touch] }\ndefaults: { timeout: 1m }\n");
    tl.write(
        "team/base.yaml",
        "version: 1\nextends: ../org/policy.yaml\nstages:\n  a: { run: [echo, base] }\n  b: { needs: a, run: [touch, made] }\n",
    );
    tl.write("p.yaml", "version: 1\nname: test\nextends: team/base.yaml\nstages: { a: { run: [echo, own] } }\n");
    let (code, events) = tl.events(&[]);
    assert_eq!((code, wholes(&events)), (0, pairs(&[("a", "success"), ("b", "success")])));
    let said: Vec<&Json> =
        events.iter().filter(|event| event["event"] == "stage-output").map(|event| &event["line"]).collect();
    assert_eq!(said, ["own"]);

    let before = tl.read("team/base.yaml");
    tl.write("team/base.yaml", before.replace("made", "changed"));
    tl.ok(&["run", "p.yaml"]);
    let started = records(&tl, "run.started");
    let extends = |base: &str| {
        json!([
            { "file": "team/base.yaml", "sha256": sha256(base) },
            { "file": "org/policy.yaml", "sha256": sha256(&tl.read("org/policy.yaml")) },
        ])
    };
    assert_eq!(started.len(), 2);
    assert_eq!(started[0]["data"]["extends"], extends(&before));
    assert_eq!(started[1]["data"]["extends"], extends(&tl.read("team/base.yaml")));
    assert_eq!(started[0]["data"]["file_sha256"], sha256(&tl.read("p.yaml")));
    assert_eq!(started[0]["data"]["file_sha256"], started[1]["data"]["file_sha256"]);

    // The rule in the third file applies to the first.
    tl.write("p.yaml", "version: 1\nname: test\nextends: team/base.yaml\nstages: { a: { run: [rm, made] } }\n");
    let refused = tl.run(&["run", "p.yaml"]);
    assert!(refused.code == 2 && refused.stderr.contains("TL0411"), "{refused:?}");
    assert!(refused.stderr.contains("org/policy.yaml:2") && refused.stderr.contains(" --> p.yaml:4:"), "{refused:?}");
    // Without `extends`, the record does not mention it.
    tl.write("alone.yaml", "version: 1\nname: alone\nstages: { a: { run: ['true'] } }\n");
    tl.ok(&["run", "alone.yaml"]);
    assert!(records(&tl, "run.started")[2]["data"].get("extends").is_none());
}

#[cfg(feature = "peers")]
fn git(tl: &Tl, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=trunk"]);
    command.args(arguments).env("HOME", tl.path()).env("GIT_CONFIG_NOSYSTEM", "1").current_dir(tl.path());
    let ended = ended(&mut command);
    assert_eq!(ended.code, 0, "git {arguments:?}: {}", ended.stderr);
    ended.stdout.trim().to_owned()
}

#[cfg(feature = "peers")]
#[test]
fn a_file_in_a_repository_knows_its_commit() {
    let tl = Tl::new();
    tl.write("sub/other.txt", "x");
    tl.pipeline(
        "stages:\n  a: { run: [echo, \"${{ git.commit }} ${{ git.branch == null ? 'detached' : git.branch }} ${{ git.tag == null ? \
         'untagged' : git.tag }} ${{ git.dirty }}\"] }\n",
    );
    let refused = tl.run(&["run", "p.yaml"]);
    assert!(refused.code == 2 && refused.stderr.contains("error[TL0318]"), "{refused:?}");
    assert!(!tl.state().exists(), "a file that is refused leaves nothing behind");
    git(&tl, &["init", "--quiet"]);
    let refused = tl.run(&["run", "p.yaml"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("error[TL0318]"),
        "a repository without a commit: {refused:?}"
    );

    tl.write(".gitignore", "state\n");
    git(&tl, &["add", "."]);
    git(&tl, &["commit", "--quiet", "-m", "one"]);
    let commit = git(&tl, &["rev-parse", "HEAD"]);
    let said = |tl: &Tl| {
        let (code, events) = tl.events(&[]);
        assert_eq!(code, 0, "{events:#?}");
        events.iter().find(|event| event["event"] == "stage-output").unwrap()["line"].as_str().unwrap().to_owned()
    };
    assert_eq!(said(&tl), format!("{commit} trunk untagged false"));
    tl.write("sub/other.txt", "y");
    assert_eq!(said(&tl), format!("{commit} trunk untagged true"));
    git(&tl, &["checkout", "--quiet", "sub/other.txt"]);
    git(&tl, &["tag", "v1"]);
    git(&tl, &["checkout", "--quiet", "--detach"]);
    assert_eq!(said(&tl), format!("{commit} detached v1 false"));
    // The file may be anywhere in the repository, and tl may start elsewhere.
    fs::rename(tl.file("p.yaml"), tl.file("sub/p.yaml")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = tl.file("sub/p.yaml").display().to_string();
    let ended = ended(tl.command(&["run", &file]).current_dir(&elsewhere));
    assert!(ended.code == 0 && ended.stdout.contains(&format!("{commit} detached v1 true")), "{ended:?}");
}

#[cfg(feature = "peers")]
#[test]
fn git_runs_no_program_that_the_repository_names() {
    let tl = Tl::new();
    let command = format!("touch {}", tl.file("ran").display());
    tl.write(".gitattributes", "a.txt filter=odd=name\nb.txt filter=second.name\nc.txt filter=mine\n");
    tl.write(".gitignore", "state\n.gitconfig\nran\nmine\n");
    for name in ["a.txt", "b.txt", "c.txt"] {
        tl.write(name, "x");
    }
    tl.pipeline("stages:\n  a: { run: [echo, \"dirty ${{ git.dirty }}\"] }\n");
    git(&tl, &["init", "--quiet"]);
    git(&tl, &["add", "."]);
    git(&tl, &["commit", "--quiet", "-m", "one"]);
    git(&tl, &["config", "filter.odd=name.clean", &command]);
    git(&tl, &["config", "filter.odd=name.required", "true"]);
    git(&tl, &["config", "filter.second.name.process", &command]);
    // A new time for each call: git reads a file again only if its time has changed.
    let touched = |day: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_hours(24 * day);
        for name in ["a.txt", "b.txt", "c.txt"] {
            fs::File::options().append(true).open(tl.file(name)).unwrap().set_modified(time).unwrap();
        }
        tl.ok(&["run", "p.yaml"]).stdout
    };
    assert!(touched(1).contains("dirty false"));
    assert!(!tl.file("ran").exists(), "the repository chose a program");
    // Filters from the user's own configuration do run: Git LFS needs them.
    let mine = format!("touch {}; cat", tl.file("mine").display());
    git(&tl, &["config", "--global", "filter.mine.clean", &mine]);
    assert!(touched(2).contains("dirty false"));
    assert!(tl.file("mine").exists() && !tl.file("ran").exists());
    tl.write("a.txt", "longer");
    assert!(touched(3).contains("dirty true"));
}

#[test]
fn git_has_a_time_limit() {
    let tl = Tl::new();
    tl.write("bin/git", "#!/bin/sh\necho $$ > group\nsleep 900 &\nsleep 900\n");
    fs::set_permissions(tl.file("bin/git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    tl.pipeline("stages:\n  a: { run: [echo, \"${{ git.commit }}\"] }\n");
    let path = format!("{}:{}", tl.file("bin").display(), std::env::var("PATH").unwrap());
    let late = ended(tl.command(&["run", "p.yaml"]).env("PATH", path));
    assert!(late.code == 2 && late.stderr.contains("error[TL0319]: git did not answer within 30s"), "{late:?}");
    crate::support::group_ended(&tl);
}

#[test]
fn a_run_in_a_ci_knows_it() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a: { run: [echo, \"${{ ci.active }} ${{ ci.name == null ? 'nowhere' : ci.name }} ${{ ci.run_id == null ? '-' : \
         ci.run_id }} ${{ ci.run_url == null ? '-' : ci.run_url }}\"] }\n  b: { if: ci.active, run: [touch, in-ci] }\n",
    );
    let said = |variables: &[(&str, &str)]| {
        let ended = ended(tl.command(&["run", "p.yaml", "--reporter", "json"]).envs(variables.iter().copied()));
        assert_eq!(ended.code, 0, "{ended:?}");
        let events = events(&ended.stdout);
        let line = events.iter().find(|event| event["event"] == "stage-output").unwrap()["line"].clone();
        (line.as_str().unwrap().to_owned(), whole(&events, "b")["outcome"].as_str().unwrap().to_owned())
    };
    let answer = |line: &str, outcome: &str| (line.to_owned(), outcome.to_owned());
    assert_eq!(said(&[]), answer("false nowhere - -", "skipped"));
    let gitlab = [
        ("CI", "true"),
        ("GITLAB_CI", "true"),
        ("CI_PIPELINE_ID", "42"),
        ("CI_PIPELINE_URL", "https://ci.example.org/42"),
    ];
    assert_eq!(said(&gitlab), answer("true gitlab 42 https://ci.example.org/42", "success"));
    let github = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_RUN_ID", "7"),
        ("GITHUB_SERVER_URL", "https://git.example.org"),
        ("GITHUB_REPOSITORY", "acme/orders"),
    ];
    assert_eq!(said(&github), answer("true github 7 https://git.example.org/acme/orders/actions/runs/7", "success"));
}

#[test]
fn settings_that_inputs_choose_are_proven_when_a_run_starts() {
    let tl = Tl::new();
    tl.pipeline(
        r#"max-parallel: ${{ inputs.wide }}
inputs:
  wide: { type: int, default: 1 }
  limit: { type: string, default: 1m }
stages:
  a:
    timeout: ${{ inputs.limit }}
    strategy: { matrix: { n: [1, 2] }, max-parallel: "${{ inputs.wide }}", fail-fast: "${{ inputs.wide == 1 }}" }
    run: [sh, -c, 'touch began; test "$1" = 1m || exec sleep 300', x, "${{ inputs.limit }}"]
"#,
    );
    tl.ok(&["run", "p.yaml"]);
    fs::remove_file(tl.file("began")).unwrap();
    for (input, code, place) in [("wide=0", "TL0206", "7:15"), ("limit=soon", "TL0205", "13:14")] {
        let ended = tl.run(&["run", "p.yaml", "--input", input]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(&format!("error[{code}]")), "{input}: {}", ended.stderr);
        assert!(ended.stderr.contains(&format!("--> p.yaml:{place}\n")), "{input}: {}", ended.stderr);
        assert!(!tl.file("began").exists(), "nothing ran");
    }
    let zero = tl.run(&["run", "p.yaml", "--input", "limit=0s"]);
    assert!(zero.code == 2 && zero.stderr.contains("`timeout` must be longer than zero, not `0s`"), "{zero:?}");
    assert!(zero.stderr.contains("--> p.yaml:13:14\n") && !tl.file("began").exists(), "{zero:?}");
    // `validate` checks with the defaults, or with the given values.
    assert_eq!(tl.run(&["validate", "p.yaml", "--input", "wide=0"]).code, 2);
    let (code, events) = tl.events(&["--input", "limit=300ms"]);
    assert_eq!(code, 1);
    // They run one after the other, and the failure of the first cancels the second.
    assert_eq!(instances(&events, "a"), pairs(&[("1", "failure"), ("2", "cancelled")]));
    assert_eq!(instance(&events, "a", "1")["error"]["code"], "TL0602");
}

#[test]
fn one_wrong_input_is_told_once_however_often_it_is_used() {
    let tl = Tl::new();
    tl.pipeline(
        r#"inputs: { limit: { type: string, default: 1m }, shared: { type: string, default: g } }
timeout: ${{ inputs.limit }}
concurrency: { group: "${{ inputs.shared }}" }
defaults: { timeout: "${{ inputs.limit }}", retry: { delay: "${{ inputs.limit }}" } }
stages:
  a: { timeout: "${{ inputs.limit }}", run: ['true'] }
"#,
    );
    for command in ["run", "validate"] {
        let ended = tl.run(&[command, "p.yaml", "--input", "limit=soon", "--input", "shared= "]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert_eq!(ended.stderr.matches("error[TL0205]: `soon` is not a duration").count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("p.yaml:8:10") && ended.stderr.contains("in 3 other places"), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("error[TL0206]: `group` must not be blank").count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("error[").count(), 2, "{}", ended.stderr);
    }
    // Not waiting at all is a valid setting.
    let text = tl.read("p.yaml").replace("}\" }\ndefaults", "}\", wait: 0s }\ndefaults");
    tl.write("p.yaml", text).ok(&["run", "p.yaml"]);
}

#[test]
fn merge_keys_give_what_a_map_does_not_have_itself() {
    let tl = Tl::new();
    tl.pipeline(
        r#"x-common: &common
  env: { WHO: common, HOW: well }
  shell: sh
x-patient: &patient { retry: { attempts: 2, delay: 10ms, exit-codes: [9] }, env: { WHO: patient } }
stages:
  a: { <<: *common, run: 'echo "a $WHO $HOW"' }
  b:
    <<: [*patient, *common]
    run: 'echo "b $WHO ${HOW-nothing}"; test -e tried || { touch tried; exit 9; }'
  c: { <<: *common, env: { WHO: own }, run: 'echo "c $WHO ${HOW-nothing}"' }
"#,
    );
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 0, "{events:#?}");
    let mut lines: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "stage-output")
        .map(|event| event["line"].as_str().unwrap())
        .collect();
    lines.sort_unstable();
    // Of several merged maps the first wins. Nested maps are not merged.
    assert_eq!(lines, ["a common well", "b patient nothing", "b patient nothing", "c own nothing"]);
}

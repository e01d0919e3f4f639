//! What a run does and its exit code, through the real program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{CHAIN, Tl, collected, ended, error_of, events, files, outcomes, pairs, signal, wait_for};

#[test]
fn files_that_are_no_pipeline() {
    let tl = Tl::new();
    tl.write("empty.yaml", "").write("binary.yaml", b"\x00\xff\xfe").write("later.yaml", "version: 7\nname: x\n");
    for name in ["missing", "empty", "binary", "later"] {
        let ended = tl.run(&["run", &format!("{name}.yaml")]);
        assert_eq!(ended.code, 2);
        insta::assert_snapshot!(format!("run_{name}"), ended.shown(&tl));
    }
    assert!(!tl.state().exists(), "a file that is refused leaves nothing behind");
}

#[test]
fn an_unreadable_file_is_a_warning_and_the_rest_is_delivered() {
    let tl = Tl::unprivileged();
    tl.write("data/a", "readable").write("data/b", "not for everybody");
    fs::set_permissions(tl.file("data/b"), fs::Permissions::from_mode(0o000)).unwrap();
    tl.pipeline(&format!("stages:\n{CHAIN}"));
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    insta::assert_snapshot!(ended.shown(&tl));
    assert_eq!(names_in_object(&tl), ["data/", "data/a"]);
}

/// The paths in the archive that was delivered.
fn names_in_object(tl: &Tl) -> Vec<String> {
    tl.ok(&["open", "-i", "identity.txt", "-o", "back.tar", "shelf/object"]);
    tar::Archive::new(fs::File::open(tl.file("back.tar")).unwrap())
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

#[test]
fn a_source_that_changes_while_it_is_read_is_a_warning() {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};
    let tl = Tl::new();
    tl.write("data/log", vec![b'x'; 64 << 20]).pipeline(&format!("stages:\n{CHAIN}"));
    let done = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = fs::File::options().append(true).open(tl.file("data/log")).unwrap();
            while !done.load(Ordering::SeqCst) {
                log.write_all(b"one more line\n").unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let ended = tl.run(&["run", "p.yaml"]);
        done.store(true, Ordering::SeqCst);
        ended
    });
    assert_eq!(ended.code, 3);
    insta::assert_snapshot!(ended.shown(&tl));
    // The object is a complete archive.
    tl.ok(&["open", "-i", "identity.txt", "-o", "back.tar", "shelf/object"]);
    let entries = tar::Archive::new(fs::File::open(tl.file("back.tar")).unwrap()).entries().unwrap().count();
    assert_eq!(entries, 2);
}

#[test]
fn an_unreadable_source_beside_a_readable_one_is_a_warning() {
    let tl = Tl::unprivileged();
    tl.write("data/a", "x").write("closed/b", "y");
    fs::set_permissions(tl.file("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    tl.pipeline(&format!("stages:\n{}", CHAIN.replace("[data]", "[data, closed]")));
    let (code, events) = tl.events(&[]);
    fs::set_permissions(tl.file("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(
        (code, outcomes(&events)),
        (3, pairs(&[("collect", "warning"), ("deliver", "success"), ("seal", "success")]))
    );
}

#[test]
fn an_unreadable_source_inside_another_costs_only_itself() {
    let tl = Tl::unprivileged();
    tl.write("data/a", "x").write("data/closed/b", "y").write("data/z", "z");
    let _socket = std::os::unix::net::UnixListener::bind(tl.file("data/socket")).unwrap();
    fs::set_permissions(tl.file("data/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    tl.pipeline(&format!("stages:\n{}", CHAIN.replace("[data]", "[data, data/closed, data/socket]")));
    let (code, _) = tl.events(&[]);
    fs::set_permissions(tl.file("data/closed"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((code, names_in_object(&tl).join(" ")), (3, "data/ data/a data/z".to_owned()));
}

#[test]
fn a_missing_source_fails_and_delivers_nothing() {
    let tl = Tl::new();
    tl.pipeline(&format!("stages:\n{CHAIN}"));
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 1);
    insta::assert_snapshot!(ended.shown(&tl));
    assert!(files(&tl.file("shelf")).is_empty());
}

#[test]
fn a_missing_recipient_fails_before_anything_is_delivered() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{CHAIN}"));
    fs::remove_file(tl.file("recipients.txt")).unwrap();
    // A file beside the pipeline file belongs to it. One elsewhere belongs to the machine.
    for command in ["validate", "run"] {
        let refused = tl.run(&[command, "p.yaml"]);
        assert!(refused.code == 2 && refused.stderr.contains("error[TL0620]"), "{refused:?}");
    }
    let elsewhere = tl.file("recipients.txt").display().to_string();
    tl.write("p.yaml", tl.read("p.yaml").replace("recipients.txt", &elsewhere));
    tl.ok(&["validate", "p.yaml"]);
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 1);
    insta::assert_snapshot!(ended.shown(&tl));
    assert!(files(&tl.file("shelf")).is_empty());
}

#[test]
fn a_missing_store_has_its_own_exit_code() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{CHAIN}"));
    fs::remove_dir(tl.file("shelf")).unwrap();
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 10);
    insta::assert_snapshot!(ended.shown(&tl));
    assert!(!tl.file("shelf").exists());
}

#[test]
fn the_wrong_identity_has_its_own_exit_code() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{CHAIN}"));
    tl.ok(&["run", "p.yaml"]);
    tl.ok(&["key", "new", "-o", "other.txt"]);
    let ended = tl.run(&["open", "-i", "other.txt", "-o", "back.tar", "shelf/object"]);
    assert_eq!(ended.code, 12);
    insta::assert_snapshot!("wrong_identity_open", ended.shown(&tl));
    assert!(!tl.file("back.tar").exists());

    tl.pipeline(
        "stages:\n  fetch: { uses: download, with: { store: shelf, key: object } }\n  open: { needs: fetch, uses: decrypt, with: \
         { artifact: '${{ needs.fetch.outputs.artifact }}', identity-file: other.txt } }\n",
    );
    let (code, events) = tl.events(&[]);
    assert_eq!((code, outcomes(&events)), (12, pairs(&[("fetch", "cancelled"), ("open", "failure")])));
    assert_eq!(error_of(&events, "open"), "TL0622");
}

#[test]
fn what_was_delivered_comes_back_through_download_and_decrypt() {
    let tl = Tl::new();
    tl.write("data/a", "hello").pipeline(&format!("stages:\n{CHAIN}"));
    tl.ok(&["run", "p.yaml"]);
    tl.pipeline(
        "stages:\n  fetch: { uses: download, with: { store: shelf, key: object } }\n  open: { needs: fetch, uses: decrypt, with: \
         { artifact: '${{ needs.fetch.outputs.artifact }}', identity-file: identity.txt } }\n  again: { needs: open, uses: \
         upload, with: { artifact: '${{ needs.open.outputs.artifact }}', store: shelf, key: plain.tar } }\n",
    );
    tl.ok(&["run", "p.yaml"]);
    tl.ok(&["open", "-i", "identity.txt", "-o", "back.tar", "shelf/object"]);
    assert_eq!(fs::read(tl.file("back.tar")).unwrap(), fs::read(tl.file("shelf/plain.tar")).unwrap());
}

#[test]
fn an_object_that_is_there_is_not_replaced_unless_told() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{CHAIN}"));
    tl.ok(&["run", "p.yaml"]);
    let first = fs::read(tl.file("shelf/object")).unwrap();
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 1);
    insta::assert_snapshot!(ended.shown(&tl));
    assert_eq!(fs::read(tl.file("shelf/object")).unwrap(), first);
    tl.pipeline(&format!("stages:\n{}", CHAIN.replace("key: object", "key: object, overwrite: true")));
    tl.ok(&["run", "p.yaml"]);
    assert_ne!(fs::read(tl.file("shelf/object")).unwrap(), first);
}

#[test]
fn two_runs_at_once_do_not_hurt_each_other() {
    let tl = Tl::new();
    tl.write("data/a", vec![7; 3 << 20]);
    tl.pipeline(&format!("stages:\n{}", CHAIN.replace("key: object", "key: 'o-${{ run.id }}'")));
    let runs: Vec<_> = (0..4).map(|_| tl.start(&["run", "p.yaml"])).collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(files(&tl.file("shelf")).len(), 8);
    let report: serde_json::Value = serde_json::from_str(&tl.ok(&["audit", "verify", "--json"]).stdout).unwrap();
    assert_eq!(report["problems"], serde_json::json!([]));
    assert_eq!(report["unsigned_tail"], 0);

    // Several runs write the same object: one wins, the others fail, and the object is intact.
    tl.pipeline(&format!("stages:\n{CHAIN}"));
    let runs: Vec<_> = (0..4).map(|_| tl.start(&["run", "p.yaml"])).collect();
    let mut codes: Vec<_> = runs.into_iter().map(|run| run.wait_with_output().unwrap().status.code()).collect();
    codes.sort();
    assert_eq!(codes, [Some(0), Some(1), Some(1), Some(1)]);
    tl.ok(&["open", "-i", "identity.txt", "-o", "back.tar", "shelf/object"]);
}

#[test]
fn an_audit_log_edited_by_one_byte_stops_everything_until_somebody_decides() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{}", CHAIN.replace("key: object", "key: '${{ run.id }}'")));
    tl.ok(&["run", "p.yaml"]);
    let segment = tl.file("state/audit/seg/00000000000000000000.jsonl");
    let log = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, log.replacen("\"sev\":\"info\"", "\"sev\":\"jnfo\"", 1)).unwrap();

    let verify = tl.run(&["audit", "verify"]);
    assert_eq!(verify.code, 20);
    assert!(verify.stdout.contains("record 0"), "{}", verify.stdout);
    insta::assert_snapshot!("audit_verify_edited", verify.shown(&tl));
    let before = files(&tl.file("shelf"));
    let refused = tl.run(&["run", "p.yaml"]);
    assert_eq!(refused.code, 20);
    assert!(refused.stdout.contains("TL0701") && refused.stdout.contains("tl audit accept"), "{}", refused.stdout);
    insta::assert_snapshot!("audit_run_edited", refused.shown(&tl));
    assert_eq!(files(&tl.file("shelf")), before, "nothing is delivered that cannot be recorded");

    assert_eq!(tl.run(&["audit", "accept", "--reason", "a test"]).code, 2);
    tl.ok(&["audit", "accept", "--reason", "a test", "--yes"]);
    tl.ok(&["audit", "verify"]);
    let shown = tl.ok(&["audit", "show", "--json"]).stdout;
    assert!(shown.lines().next().unwrap().contains("\"audit.accepted\""), "{shown}");
    tl.ok(&["run", "p.yaml"]);
    // A healthy log cannot be set aside.
    assert_eq!(tl.run(&["audit", "accept", "--reason", "again", "--yes"]).code, 2);
}

#[test]
fn a_failure_skips_what_needs_it_and_finally_still_runs() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a: { run: ['false'] }\n  b: { needs: a, run: ['true'] }\n  c: { run: ['true'] }\n  d: { needs: a, if: \
         failure(), run: ['true'] }\nfinally:\n  e: { env: { A: '${{ stages.a.result }}' }, shell: sh, run: 'test \"$A\" = \
         failure' }\n",
    );
    let (code, events) = tl.events(&[]);
    let expected = pairs(&[("a", "failure"), ("b", "skipped"), ("c", "success"), ("d", "success"), ("e", "success")]);
    assert_eq!((code, outcomes(&events)), (1, expected));
    assert_eq!(events.last().unwrap()["exit_code"], 1);
}

#[test]
fn outcomes_have_their_exit_codes() {
    let tl = Tl::new();
    for (stages, code) in [
        ("  a: { run: ['true'] }\n", 0),
        ("  a: { run: [sh, -c, 'exit 75'] }\n", 75),
        ("  a: { if: 'false', run: ['true'] }\n", 75),
        ("  a: { continue-on-error: true, run: ['false'] }\n  b: { needs: a, run: ['true'] }\n", 3),
        ("  a: { uses: assert, with: { that: '${{ 1 > 2 }}', otherwise: warn } }\n", 3),
        ("  a: { uses: assert, with: { that: '${{ 1 > 2 }}', otherwise: skip } }\n", 75),
        ("  a: { uses: assert, with: { that: '${{ 1 > 2 }}', message: no } }\n", 1),
        ("  a: { run: [no-such-program-anywhere] }\n", 1),
        ("  a: { timeout: 100ms, run: [sleep, '60'] }\n", 1),
        ("  a: { run: [sleep, '60'] }\ntimeout: 300ms\n", 124),
        ("  a: { if: '[1][int(run.time.size()) + 5] == 1', run: ['true'] }\n", 1),
    ] {
        tl.pipeline(&format!("stages:\n{stages}"));
        let ended = tl.run(&["run", "p.yaml"]);
        assert_eq!(ended.code, code, "{stages}{}{}", ended.stdout, ended.stderr);
    }
}

#[test]
fn a_child_says_what_it_outputs_and_others_read_it() {
    let tl = Tl::new();
    tl.pipeline(
        r#"stages:
  count:
    shell: sh
    run: |
      echo "files=3" >> "$TL_OUTPUT"
      printf 'note<<END\ntwo\nlines\nEND\n' >> "$TL_OUTPUT"
      echo "ratio=0.5" >> "$TL_OUTPUT"
      echo "good=true" >> "$TL_OUTPUT"
    outputs: { files: int, note: string, ratio: number, good: bool }
  use:
    needs: count
    if: needs.count.outputs.good && needs.count.outputs.ratio < 1.0
    run: [test, "${{ needs.count.outputs.files + 1 }} ${{ needs.count.outputs.note }}", =, "4 two\nlines"]
"#,
    );
    tl.ok(&["run", "p.yaml"]);
    for (script, reason) in [
        ("true", "missing"),
        ("echo a=1 >> $TL_OUTPUT; echo b=2 >> $TL_OUTPUT", "not declared"),
        ("echo a=x >> $TL_OUTPUT", "not of its type"),
        ("echo nothing >> $TL_OUTPUT", "no `=`"),
    ] {
        tl.pipeline(&format!("stages:\n  a: {{ shell: sh, run: '{script}', outputs: {{ a: int }} }}\n"));
        let ended = tl.run(&["run", "p.yaml"]);
        assert!(
            ended.code == 1 && ended.stdout.contains("TL0652") && ended.stdout.contains(reason),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn an_argument_stays_one_argument_and_no_option() {
    let tl = Tl::new();
    tl.pipeline(
        "inputs: { word: { type: string } }\nstages:\n  a: { shell: sh, run: 'true' }\n  b: { run: [sh, -c, 'test \"$#\" = 1 && \
         printf %s \"$1\" > got', x, '${{ inputs.word }}'] }\n",
    );
    for word in ["a b", "$(touch pwned)", "';touch pwned;'", "a\nb", "`touch pwned`", "*", "\"", "\\"] {
        tl.ok(&["run", "p.yaml", "--input", &format!("word={word}")]);
        assert_eq!(tl.read("got"), word);
    }
    assert!(!tl.file("pwned").exists());
    let ended = tl.run(&["run", "p.yaml", "--input", "word=--help"]);
    assert!(ended.code == 1 && ended.stdout.contains("TL0653"), "{}", ended.stdout);
}

#[test]
fn a_child_inherits_nothing_but_what_is_named() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { env: { MINE: here }, shell: sh, run: 'env > env.txt' }\n");
    let ended = ended(tl.command(&["run", "p.yaml"]).env("SECRET_OF_THE_HOST", "x").env("LANG", "C.UTF-8"));
    assert_eq!(ended.code, 0, "{ended:?}");
    let env = tl.read("env.txt");
    let mut names: Vec<&str> = env.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    names.sort_unstable();
    assert_eq!(
        names,
        ["HOME", "LANG", "MINE", "PATH", "TL", "TL_OUTPUT", "TL_PIPELINE", "TL_RUN", "TL_STAGE", "TL_SUPERVISED"]
    );
}

#[test]
fn retries_happen_where_the_file_asks_for_them() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a:\n    retry: { attempts: 3, delay: 10ms, exit-codes: [9] }\n    shell: sh\n    run: 'echo x >> tries; test \
         $(wc -l < tries) -ge 3 || exit 9'\n  b:\n    retry: { attempts: 3, delay: 10ms, exit-codes: [9] }\n    shell: sh\n    \
         run: 'echo x >> others; exit 8'\n",
    );
    let (code, events) = tl.events(&[]);
    assert_eq!((code, outcomes(&events)), (1, pairs(&[("a", "success"), ("b", "failure")])));
    assert_eq!(tl.read("tries").lines().count(), 3);
    assert_eq!(tl.read("others").lines().count(), 1);
    assert_eq!(events.iter().filter(|event| event["event"] == "stage-retrying").count(), 2);
}

#[test]
fn what_is_tried_again_is_the_same_command_and_each_attempt_is_on_record() {
    let tl = Tl::new();
    tl.write("try.sh", "{ pwd; printf '%s\\n' \"$0\" \"$@\"; env | grep -v '^TL_OUTPUT=\\|^TL_SUPERVISED=' | sort; echo; } >> tried\ntest \"$(grep -c '^$' tried)\" -ge 3 || exit 9\n");
    tl.pipeline(
        "inputs: { what: { type: string, default: 'a b' } }\nstages:\n  a:\n    env: { MINE: '${{ run.id }} ${{ inputs.what }}' }\n    \
         retry: { attempts: 3, delay: 100ms, factor: 2, exit-codes: [9] }\n    run: [sh, try.sh, '${{ inputs.what }}', '${{ run.time }}']\n",
    );
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 0, "{events:#?}");
    let tried = tl.read("tried");
    let tried: Vec<&str> = tried.split_terminator("\n\n").collect();
    assert!(tried.len() == 3 && tried.iter().all(|attempt| *attempt == tried[0]), "{tried:#?}");
    // Each wait is longer than the one before, within the jitter.
    let delays: Vec<u64> = events.iter().filter_map(|event| event["delay_ms"].as_u64()).collect();
    assert!(matches!(delays[..], [first @ 50..=150, second @ 100..=300] if second > first / 2), "{delays:?}");
    let record = tl.ok(&["audit", "show", "--type", "stage.retrying", "--json"]).stdout;
    assert!(
        record.lines().count() == 2 && record.contains(r#""attempt":1"#) && record.contains(r#""attempt":2"#),
        "{record}"
    );
}

#[test]
fn secrets_are_seen_nowhere() {
    let tl = Tl::new();
    let secret = "s3cr3t-v4lue/+with=odd&chars";
    tl.write("key.txt", format!("{secret}\n"));
    tl.pipeline(
        "secrets:\n  token: { from: env, name: TOKEN_OF_TEST }\n  key: { from: file, path: key.txt }\nstages:\n  a:\n    env: { \
         TOKEN: '${{ secrets.token }}', HEADER: 'Bearer ${{ secrets.key }}' }\n    shell: sh\n    run: |\n      test \"${#TOKEN}\" = \
         11 || exit 3\n      echo \"$TOKEN $HEADER\"; echo \"$HEADER\" | base64 -w0 >&2; exit 1\nnotify:\n  - { when: \
         [failure], to: [log] }\n",
    );
    let ended = ended(tl.command(&["run", "p.yaml"]).env("TOKEN_OF_TEST", "tok-en-1234"));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("*** Bearer ***"), "{}", ended.stdout);
    let mut texts = vec![ended.stdout, ended.stderr, tl.read("log.jsonl"), tl.ok(&["plan", "p.yaml"]).stdout];
    for file in files(&tl.state()) {
        texts.push(String::from_utf8_lossy(&fs::read(tl.state().join(file)).unwrap()).into_owned());
    }
    for text in texts {
        assert!(!text.contains("s3cr3t") && !text.contains("tok-en") && !text.contains("czNjcjN0"), "{text}");
    }
}

#[test]
fn a_secret_in_a_long_line_is_not_cut_in_two() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets: { token: { from: env, name: TOKEN_OF_TEST } }\nstages:\n  a:\n    env: { S: '${{ secrets.token }}' }\n    shell: sh\n    \
         run: 'i=0; while [ $i -lt 60 ]; do head -c $((16370 + i)) /dev/zero | tr \"\\0\" x; echo \"$S\"; i=$((i+1)); done'\n",
    );
    let ended = ended(tl.command(&["run", "p.yaml"]).env("TOKEN_OF_TEST", "hunter2-hunter2"));
    assert_eq!(ended.code, 0);
    assert_eq!(ended.stdout.matches("***").count(), 60);
    assert!(!ended.stdout.contains("hunt") && !ended.stdout.contains("ter2"));
}

#[test]
fn the_last_words_of_a_stopped_child_are_heard() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a: { timeout: 500ms, shell: sh, run: \"trap 'echo last words; exit 1' TERM; sleep 60 & wait\" }\n",
    );
    let ended = tl.run(&["run", "p.yaml"]);
    assert!(ended.code == 1 && ended.stdout.contains("last words"), "{}", ended.stdout);
}

#[test]
fn a_run_removes_what_killed_runs_left_and_nothing_of_living_ones() {
    let tl = Tl::new();
    tl.pipeline("inputs: { s: { type: string, default: '0' } }\nstages:\n  a: { run: [sh, -c, 'touch began-$1; sleep $1', x, '${{ inputs.s }}'] }\n");
    let folders = || {
        let work = tl.file("state/work");
        std::fs::read_dir(work).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    };
    let mut killed = tl.start(&["run", "p.yaml", "--input", "s=50"]);
    wait_for(|| tl.file("began-50").exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(folders(), 1);
    wait_for(|| tl.ok(&["status", "--json"]).stdout.contains("\"interrupted\""));
    let alive = tl.start(&["run", "p.yaml", "--input", "s=2"]);
    wait_for(|| tl.file("began-2").exists());
    assert_eq!(folders(), 1, "the killed one is gone, the living one is there");
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(folders(), 1);
    assert_eq!(collected(alive).code, 0);
    assert_eq!(folders(), 0);
}

#[test]
fn a_template_is_proven_before_it_is_needed() {
    let tl = Tl::new();
    let file = |when: &str| {
        tl.pipeline(&format!(
            "stages:\n  a: {{ run: [touch, ran] }}\nnotify:\n  - {{ when: [{when}], to: [log], template: message.hbs }}\n"
        ));
    };
    file("failure");
    let missing = tl.run(&["validate", "p.yaml"]);
    assert!(missing.code == 2 && missing.stderr.contains("TL0671"), "{}", missing.stderr);
    tl.write("message.hbs", "{{pipeline}}\n{{#each stages}}{{nam}}{{/each}}\n");
    let misspelt = tl.run(&["run", "p.yaml"]);
    assert_eq!(misspelt.code, 2);
    insta::assert_snapshot!(misspelt.shown(&tl));
    assert!(!tl.file("ran").exists());
    // No checkpoint exists yet when a run starts.
    tl.write("message.hbs", "{{pipeline}}\n{{audit.size}}\n");
    file("failure");
    tl.ok(&["validate", "p.yaml"]);
    file("started");
    assert_eq!(tl.run(&["validate", "p.yaml"]).code, 2);
    // A template that breaks during the run spoils the format of the message, but the message is sent.
    tl.pipeline(
        "stages:\n  a: { shell: sh, run: 'echo {{ > message.hbs' }\nnotify:\n  - { when: [success], to: [log], template: message.hbs \
         }\n",
    );
    tl.ok(&["run", "p.yaml"]);
    assert!(tl.read("log.jsonl").contains("success  a  ") && tl.read("log.jsonl").contains("TL0671"));
}

#[test]
fn a_missing_secret_blocks_the_run_and_is_told() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets: { token: { from: env, name: NOT_SET_ANYWHERE }, key: { from: file, path: nowhere } }\nstages:\n  a: { env: { T: '${{ \
         secrets.token }}', K: '${{ secrets.key }}' }, run: [touch, ran] }\nnotify:\n  - { when: [blocked], to: [log] }\n",
    );
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 12);
    insta::assert_snapshot!(ended.shown(&tl));
    assert!(!tl.file("ran").exists());
    assert!(tl.read("log.jsonl").contains("\"when\":\"blocked\""));
    assert!(tl.ok(&["audit", "show", "--type", "run.finished"]).stdout.contains("blocked"));
}

#[test]
fn inputs_are_checked_before_anything_runs() {
    let tl = Tl::new();
    tl.pipeline(
        "inputs:\n  place: { type: string, enum: [here, there], default: here }\n  count: { type: int }\nstages:\n  a: { run: [touch, \
         ran] }\n",
    );
    for (name, arguments) in [
        ("missing", &[][..]),
        ("type", &["--input", "count=x"]),
        ("choice", &["--input", "count=1", "--input", "place=nowhere"]),
        ("unknown", &["--input", "count=1", "--input", "plaec=here"]),
        ("twice", &["--input", "count=1", "--input", "count=2"]),
    ] {
        let ended = tl.run(&[&["run", "p.yaml"], arguments].concat());
        assert_eq!(ended.code, 2);
        insta::assert_snapshot!(format!("input_{name}"), ended.shown(&tl));
    }
    assert!(!tl.file("ran").exists());
    tl.ok(&["run", "p.yaml", "--input", "count=3"]);
}

#[test]
fn messages_tell_what_happened_and_a_recovery_is_told_once() {
    let tl = Tl::new();
    tl.write("sound.sh", "cat >> told; env > channel-env\n");
    tl.pipeline(
        "  bell: { uses: command, with: { run: [sh, sound.sh] } }\nstages:\n  a: { run: [test, -e, good] }\nnotify:\n  - { when: \
         [started, success, failure, recovered], to: [log, bell] }\n",
    );
    let failed = ended(tl.command(&["run", "p.yaml"]).env("SECRET_OF_THE_HOST", "x"));
    assert_eq!(failed.code, 1);
    let env = tl.read("channel-env");
    assert!(
        env.contains("TL_WHEN=failure")
            && env.contains("TL_SUBJECT=\u{274c} test: failure")
            && !env.contains("SECRET_OF"),
        "{env}"
    );
    tl.write("good", "");
    tl.ok(&["run", "p.yaml"]);
    tl.ok(&["run", "p.yaml"]);
    let log = tl.read("log.jsonl");
    let told: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["when"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["started", "failure", "started", "recovered", "started", "success"]);
    assert_eq!(tl.read("told").matches("run 01").count(), 6, "{}", tl.read("told"));
}

#[test]
fn a_message_that_cannot_be_delivered_changes_no_result() {
    let tl = Tl::new();
    tl.pipeline(
        "  full: { uses: file, with: { path: /dev/full } }\n  broken: { uses: command, with: { run: ['false'] } }\n  absent: { uses: \
         command, with: { run: [no-such-program-anywhere] } }\nstages:\n  a: { run: ['true'] }\nnotify:\n  - { when: [success], to: \
         [full, broken, absent, log] }\n",
    );
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 0);
    let errors: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "message")
        .map(|event| event["error"]["code"].as_str().unwrap_or("delivered"))
        .collect();
    assert_eq!(errors, ["TL0670", "TL0670", "TL0670", "delivered"]);
    let failed = tl.ok(&["audit", "show", "--type", "notify.failed"]).stdout;
    assert_eq!(failed.lines().count(), 3);
}

#[test]
fn the_notify_stage_and_the_audit_stage_do_what_they_say() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  sign: { uses: audit }\n  tell: { needs: sign, uses: notify, with: { to: [log], subject: 'signed ${{ \
         needs.sign.outputs.size }}', body: '${{ needs.sign.outputs.checkpoint }}' } }\n",
    );
    tl.ok(&["run", "p.yaml"]);
    let message: serde_json::Value = serde_json::from_str(tl.read("log.jsonl").trim()).unwrap();
    assert!(message["subject"].as_str().unwrap().starts_with("signed "));
    assert!(message["body"].as_str().unwrap().contains("\n\n\u{2014} tl/"), "{message}");
}

#[test]
fn ctrl_c_stops_cleanly_and_finally_still_runs() {
    for stop in [Signal::INT, Signal::TERM, Signal::HUP] {
        let tl = Tl::new();
        tl.pipeline(
            "stages:\n  a: { shell: sh, run: 'touch began; sleep 60 & wait' }\n  b: { needs: a, run: [touch, never] }\nfinally:\n  \
             f: { run: [touch, last] }\nnotify:\n  - { when: [cancelled], to: [log] }\n",
        );
        let run = tl.start(&["run", "p.yaml", "--reporter", "json"]);
        wait_for(|| tl.file("began").exists());
        signal(&run, stop);
        let ended = collected(run);
        assert_eq!(ended.code, 130, "{ended:?}");
        let expected = pairs(&[("a", "cancelled"), ("b", "cancelled"), ("f", "success")]);
        assert_eq!(outcomes(&events(&ended.stdout)), expected);
        assert!(tl.file("last").exists() && !tl.file("never").exists());
        assert!(tl.read("log.jsonl").contains("cancelled"));
        tl.ok(&["audit", "verify"]);
    }
}

#[test]
fn a_child_that_prints_without_end_can_still_be_stopped() {
    let tl = Tl::new();
    tl.pipeline("timeout: 1s\nstages:\n  a: { run: [cat, /dev/zero] }\n  b: { run: ['yes'] }\nfinally:\n  f: { run: [touch, last] }\n");
    // If the cancel did not arrive, this would never end.
    let ended = ended(tl.command(&["run", "p.yaml", "--reporter", "json"]).stdout(std::process::Stdio::null()));
    assert_eq!(ended.code, 124);
    assert!(tl.file("last").exists());
}

#[test]
fn an_unread_report_does_not_hold_up_a_run() {
    let tl = Tl::new();
    tl.pipeline("timeout: 1s\nstages:\n  a: { run: ['yes'] }\nfinally:\n  f: { run: [touch, last] }\n");
    let run = tl.start(&["run", "p.yaml"]);
    wait_for(|| tl.file("last").exists());
    wait_for(|| tl.ok(&["audit", "show", "--type", "run.finished"]).stdout.contains("exit_code=124"));
    assert_eq!(collected(run).code, 124);
}

#[test]
fn channels_that_hang_do_not_hang_the_run() {
    let tl = Tl::new();
    tl.write("message.hbs", "{{pipeline}}\n".to_owned() + &"x".repeat(200_000));
    let made = Command::new("mkfifo").arg(tl.file("fifo")).status().unwrap();
    assert!(made.success());
    tl.pipeline(
        "  fifo: { uses: file, with: { path: fifo } }\n  deaf: { uses: command, with: { run: [sh, -c, 'exec 3<&0; sleep 100000 <&3 & echo $! > held'] } \
         }\nstages:\n  a: { run: ['true'] }\nnotify:\n  - { when: [success], to: [fifo, deaf, log], template: message.hbs }\n",
    );
    // If tl waited for one of them, this would never end.
    let (code, events) = tl.events(&[]);
    kill_process(Pid::from_raw(tl.read("held").trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(code, 0);
    let delivered: Vec<bool> =
        events.iter().filter(|e| e["event"] == "message").map(|e| e["error"].is_null()).collect();
    assert_eq!(delivered, [false, true, true]);
}

#[test]
fn what_a_child_writes_never_keeps_a_run_from_being_recorded() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  a: { continue-on-error: true, shell: sh, run: 'head -c 100000 /dev/zero | tr \"\\0\" A > $TL_OUTPUT; echo =x >> \
         $TL_OUTPUT' }\n  b: { needs: a, run: ['true'] }\n",
    );
    let (code, events) = tl.events(&[]);
    assert_eq!((code, outcomes(&events)), (3, pairs(&[("a", "warning"), ("b", "success")])));
    let input = "x".repeat(100_000);
    tl.pipeline("inputs: { i: { type: string } }\nstages:\n  a: { run: ['true'] }\n");
    tl.ok(&["run", "p.yaml", "--input", &format!("i={input}")]);
    tl.ok(&["audit", "verify"]);
}

#[test]
fn names_write_no_lines_of_their_own() {
    let tl = Tl::unprivileged();
    let name = "data/x\n  success   prove    9 GiB, proven by content, 5 ms\u{1b}[2K\u{202e}";
    tl.write("data/a", "x").write(name, "not for everybody");
    fs::set_permissions(tl.file(name), fs::Permissions::from_mode(0o000)).unwrap();
    tl.pipeline(&format!("stages:\n{CHAIN}"));
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 3, "{}", ended.stdout);
    assert!(
        !ended.stdout.contains("\n  success   prove") && !ended.stdout.contains(['\u{1b}', '\u{202e}']),
        "{}",
        ended.stdout
    );
    let hostile = "ev\nfake.yaml: fine\nx.yaml";
    tl.write(hostile, "version: 1\nname: test\nstages: { a: { run: ['true'] } }\n");
    assert_eq!(tl.ok(&["validate", hostile]).stdout.lines().count(), 1);
}

#[test]
fn a_state_folder_holds_only_what_is_tls_own() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { run: ['true'] }\n");
    // Somebody's folder, one that looks like a run but is none, and a link.
    tl.write("state/work/thesis/chapter", "precious").write("state/work/01M8687BPPD1AJKTAJX3SZMXX1/file", "precious");
    tl.write("elsewhere/file", "precious");
    std::os::unix::fs::symlink(tl.file("elsewhere"), tl.file("state/work/01M8687BPPD1AJKTAJX3SZMXX2")).unwrap();
    fs::set_permissions(tl.state(), fs::Permissions::from_mode(0o700)).unwrap();
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(tl.read("state/work/thesis/chapter"), "precious");
    assert_eq!(tl.read("state/work/01M8687BPPD1AJKTAJX3SZMXX1/file"), "precious");
    assert_eq!(files(&tl.file("elsewhere")), ["file"]);
    fs::set_permissions(tl.state(), fs::Permissions::from_mode(0o777)).unwrap();
    let ended = tl.run(&["run", "p.yaml"]);
    assert!(ended.code != 0 && ended.stdout.contains("TL0707"), "{}", ended.stdout);
}

#[test]
fn an_archive_holds_neither_the_state_nor_its_store() {
    let tl = Tl::new();
    tl.write("a", "x").pipeline(&format!("stages:\n{}", CHAIN.replace("sources: [data]", "sources: [.]")));
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    let names = names_in_object(&tl);
    let is_own = |name: &String| name.contains("state") || name.contains("shelf");
    assert!(names.iter().any(|name| name == "./a") && !names.iter().any(is_own), "{names:?}");
}

/// The state folder is known by what it is, not by how its path is spelled.
#[test]
fn the_state_is_left_out_however_it_is_reached() {
    let tl = Tl::new();
    tl.write("real/data/a", "x").write("real/home/b", "x");
    std::os::unix::fs::symlink(tl.file("real"), tl.file("link")).unwrap();
    tl.pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [real] } }\n  deliver: { needs: collect, uses: upload, with: { artifact: \
         '${{ needs.collect.outputs.artifact }}', store: shelf, key: '${{ run.id }}' } }\n",
    );
    for state in ["link/home/state", "link/data/../home/state", "./real/data/../home/state"] {
        tl.ok(&["run", "p.yaml", "--state", state]);
    }
    for object in files(&tl.file("shelf")).iter().filter(|name| !name.ends_with(".sha256")) {
        let names: Vec<String> = tar::Archive::new(fs::File::open(tl.file("shelf").join(object)).unwrap())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(
            names.contains(&"real/home/b".to_owned()) && !names.iter().any(|name| name.ends_with("key")),
            "{names:?}"
        );
    }
}

#[test]
fn a_source_with_nothing_in_it_is_no_success() {
    let tl = Tl::new();
    fs::create_dir_all(tl.file("empty/below")).unwrap();
    tl.write("full/a", "1234");
    fs::create_dir(tl.file("shelf")).unwrap();
    let run = |with: &str| {
        tl.pipeline(&format!(
            "stages:\n  collect: {{ uses: archive, with: {{ {with} }} }}\n  deliver: {{ needs: collect, uses: upload, with: {{ artifact: \
             '${{{{ needs.collect.outputs.artifact }}}}', store: shelf, key: '${{{{ run.id }}}}' }} }}\n"
        ));
        tl.events(&[])
    };
    for (with, code, error) in [
        ("sources: [empty]", 1, Some("TL0615")),
        ("sources: [empty], allow-empty: true", 0, None),
        ("sources: [empty, full]", 3, None),
        ("sources: [empty, full], allow-empty: true", 0, None),
        ("sources: [full], exclude: [a]", 1, Some("TL0615")),
        ("sources: [full], min-files: 2", 1, Some("TL0615")),
        ("sources: [full], min-bytes: 5B", 1, Some("TL0615")),
        ("sources: [full], min-files: 1, min-bytes: 4B", 0, None),
        ("sources: [full], require-mount: true", 1, Some("TL0616")),
        ("sources: [/dev], exclude: ['/dev/*/'], require-mount: true, one-file-system: true", 0, None),
    ] {
        let before = files(&tl.file("shelf")).len();
        let (ended, events) = run(with);
        assert_eq!((ended, error.map(|_| error_of(&events, "collect"))), (code, error.map(str::to_owned)), "{with}");
        assert_eq!(files(&tl.file("shelf")).len() > before, error.is_none(), "{with}: what is delivered");
    }
}

#[test]
fn a_second_ctrl_c_ends_it_at_once_with_its_children() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { shell: sh, run: \"trap '' TERM; echo $$ > began; while :; do sleep 0.1; done\" }\n");
    let run = tl.start(&["run", "p.yaml"]);
    wait_for(|| tl.file("began").exists() && !tl.read("began").trim().is_empty());
    signal(&run, Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    signal(&run, Signal::INT);
    assert_eq!(collected(run).code, 130);
    // The end came at once: had tl waited for the child, the end of its stage would be recorded, too.
    assert!(tl.ok(&["audit", "show", "--type", "run.finished"]).stdout.contains("cancelled"));
    assert_eq!(tl.ok(&["audit", "show", "--type", "stage.ended"]).stdout, "");
    let child = Pid::from_raw(tl.read("began").trim().parse().unwrap()).unwrap();
    wait_for(|| rustix::process::test_kill_process(child).is_err());
}

#[test]
fn a_kill_during_an_upload_leaves_no_object() {
    let tl = Tl::new();
    tl.write("data/a", vec![1; 64 << 20]).pipeline(&format!("stages:\n{CHAIN}"));
    for wait in [0, 20, 60, 120] {
        let mut run = tl.start(&["run", "p.yaml"]);
        wait_for(|| tl.file("state/audit/log.vkey").exists());
        std::thread::sleep(Duration::from_millis(wait));
        run.kill().unwrap();
        run.wait().unwrap();
        let names = files(&tl.file("shelf"));
        assert!(names.iter().all(|name| name.starts_with(".tl-") || name == "object.sha256"), "{names:?}");
        tl.ok(&["audit", "verify"]);
    }
    tl.ok(&["run", "p.yaml"]);
}

#[test]
fn plan_shows_everything_and_does_nothing() {
    let tl = Tl::new();
    tl.pipeline(&format!(
        "inputs: {{ place: {{ type: string, default: here }} }}\nsecrets: {{ token: {{ from: env, name: NOT_SET_ANYWHERE }} }}\nstages:\n\
         {CHAIN}  hook: {{ needs: deliver, if: 'inputs.place == \"here\"', env: {{ T: '${{{{ secrets.token }}}}' }}, run: [curl, '${{{{ \
         inputs.place }}}}/${{{{ run.id }}}}'] }}\nfinally:\n  last: {{ uses: audit }}\n"
    ));
    let plan = tl.ok(&["plan", "p.yaml", "--input", "place=there"]);
    insta::assert_snapshot!(plan.shown(&tl));
    let plan: serde_json::Value = serde_json::from_str(&tl.ok(&["plan", "p.yaml", "--json"]).stdout).unwrap();
    assert_eq!(plan["steps"][0][0]["stream"], serde_json::json!(["collect", "seal", "deliver"]));
    assert!(!tl.state().exists() && files(&tl.file("shelf")).is_empty());
}

#[test]
fn state_and_what_lies_in_it_is_for_the_owner_alone() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{CHAIN}"));
    // With any umask: `sh` sets one and `tl` inherits it.
    let line = format!("umask 000; exec {} run p.yaml", env!("CARGO_BIN_EXE_tl"));
    let run = ended(Command::new("sh").args(["-c", &line]).current_dir(tl.path()).env("TL_STATE", tl.state()));
    assert_eq!(run.code, 0, "{run:?}");
    for (folder, name) in files(&tl.state())
        .iter()
        .map(|name| (tl.state(), name))
        .chain(files(&tl.file("shelf")).iter().map(|name| (tl.file("shelf"), name)))
    {
        let mode = fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    assert_eq!(fs::metadata(tl.file("state/audit")).unwrap().permissions().mode() & 0o777, 0o700);
}

/// A log that is set back while a run writes to it: the run says so, also where it has another reason to end.
#[test]
fn a_log_that_is_set_back_in_the_middle_of_a_run_fails_it() {
    for damage in [
        ": > state/audit/seg/00000000000000000000.jsonl",
        "rm -r state/audit",
        "cp -r old/. state/audit/",
        "trap \"rm -r state/audit; exit 0\" TERM",
    ] {
        let tl = Tl::new();
        tl.pipeline("stages:\n  a: { run: ['true'] }\n").ok(&["run", "p.yaml"]);
        tl.pipeline(&format!("timeout: 1s\nstages:\n  a: {{ shell: sh, run: '{damage}; sleep 60 & wait' }}\n"));
        Command::new("cp").args(["-r", "state/audit", "old"]).current_dir(tl.path()).status().unwrap();
        let (code, events) = tl.events(&[]);
        let of = |code: &str| events.iter().filter(|event| event["error"]["code"] == code).count();
        // The stage was stopped for it, or had been stopped for its time: either way the exit code is that of the log.
        assert!(code == 20 && of("TL0701") >= 1, "{damage}: {code} {events:#?}");
        assert!(of("TL0701") + of("TL0602") <= 4, "{damage}: {events:#?}");
        assert!(!events.iter().any(|event| event["event"] == "checkpoint"), "{damage}: {events:#?}");
    }
}

/// As systemd starts a unit with `StateDirectory=` and `DynamicUser=`.
#[test]
fn the_state_folder_of_a_service_needs_no_home() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { run: ['true'] }\n");
    let service = |variables: &[(&str, std::path::PathBuf)]| {
        let mut command = tl.command(&["run", "p.yaml"]);
        ended(command.env_remove("HOME").env_remove("TL_STATE").envs(variables.iter().cloned()))
    };
    assert_eq!(service(&[("STATE_DIRECTORY", tl.file("service"))]).code, 0);
    assert!(tl.file("service/state.db").exists());
    assert_eq!(service(&[("STATE_DIRECTORY", tl.file("other")), ("TL_STATE", tl.file("own"))]).code, 0);
    assert!(tl.file("own/state.db").exists() && !tl.file("other").exists());
    let nowhere = service(&[]);
    assert!(nowhere.code != 0 && nowhere.stderr.contains("TL_STATE"), "{nowhere:?}");
}

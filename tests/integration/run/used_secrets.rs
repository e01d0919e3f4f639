//! Which secrets a run reads, where it hands them out, and what the audit log says of that.

use std::fs;

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::support::{Ended, Tl, ended, files, kill, wait_for};

const VALUE: &str = "tok-en-1234";

fn run(tl: &Tl, arguments: &[&str]) -> Ended {
    ended(tl.command(&[&["run"], arguments].concat()).env("TOKEN_OF_TEST", VALUE))
}

/// What the audit log says of each use, in order.
fn uses(tl: &Tl) -> Vec<Json> {
    let shown = tl.ok(&["audit", "show", "--type", "secret.used", "--json"]).stdout;
    shown.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["data"].clone()).collect()
}

/// A `command` secret whose program leaves a file when it runs.
const PRINTED: &str = "printed: { from: command, run: [sh, -c, 'touch it-ran; echo s3cr3t-of-a-program'] }";

#[test]
fn a_secret_that_only_other_stages_use_is_not_read() {
    let tl = Tl::new();
    let rest = |more: &str| {
        format!(
            "secrets:\n  token: {{ from: env, name: TOKEN_OF_TEST }}\n  missing: {{ from: env, name: NOT_SET_ANYWHERE }}\n  {PRINTED}\n\
             stages:\n  a: {{ env: {{ T: '${{{{ secrets.token }}}}' }}, shell: sh, run: 'test \"$T\" = {VALUE}' }}\n  b: {{ env: {{ P: \
             '${{{{ secrets.printed }}}}' }}, run: [touch, b-ran] }}\n{more}"
        )
    };
    tl.pipeline(&rest(""));
    let ended = run(&tl, &["p.yaml", "--only", "a"]);
    assert!(ended.code == 0 && !tl.file("it-ran").exists(), "{ended:?}");
    assert!(ended.stdout.contains("skipped   b"), "{}", ended.stdout);
    // The whole run needs it, and not the one that no stage uses.
    let ended = run(&tl, &["p.yaml"]);
    assert!(ended.code == 0 && tl.file("it-ran").exists() && tl.file("b-ran").exists(), "{ended:?}");
    // These look at all of them.
    for arguments in [&["secret", "check", "p.yaml"][..], &["validate", "--secrets", "p.yaml"], &["doctor", "p.yaml"]] {
        fs::remove_file(tl.file("it-ran")).unwrap();
        let ended = crate::support::ended(tl.command(arguments).env("TOKEN_OF_TEST", VALUE));
        assert!(ended.code != 0 && tl.file("it-ran").exists(), "{arguments:?}: {ended:?}");
    }
    // A missing one that is needed is reported before anything runs.
    fs::remove_file(tl.file("b-ran")).unwrap();
    tl.pipeline(&rest("  c: { needs: b, env: { M: '${{ secrets.missing }}' }, run: ['true'] }\n"));
    let ended = run(&tl, &["p.yaml"]);
    assert!(ended.code == 12 && ended.stdout.contains("TL0510") && !tl.file("b-ran").exists(), "{ended:?}");
    assert_eq!(run(&tl, &["p.yaml", "--only", "b"]).code, 0);
}

/// Stages that name neither the store nor the channel with a secret.
const NEITHER: &str = "  a: { uses: download, with: { store: shelf, key: k } }\n  z: { run: ['true'] }\n";

#[test]
fn stores_and_channels_need_their_secrets_where_something_names_them() {
    let tl = Tl::new();
    let file = |stages: &str, more: &str| {
        tl.pipeline(&format!("secrets:\n  {PRINTED}\nstages:\n{stages}{more}"));
        let places = "stores:\n  far: { uses: s3, with: { bucket: vault, region: r, endpoint: 'http://127.0.0.1:1', \
                      allow-private: true, request-timeout: 1s, retry-for: 1s, access-key-id: a, secret-access-key: \
                      '${{ secrets.printed }}' } }\n";
        let hook = "channels:\n  hook: { uses: webhook, with: { url: 'https://hook.invalid/${{ secrets.printed }}', timeout: 1s } }\n";
        tl.write("p.yaml", tl.read("p.yaml").replace("stores:\n", places).replace("channels:\n", hook));
    };
    let ran = || fs::remove_file(tl.file("it-ran")).is_ok();
    file(NEITHER, "");
    run(&tl, &["p.yaml"]);
    assert!(!ran(), "nothing names them");
    let chosen = "  d: { strategy: { matrix: { to: [shelf, far] } }, uses: download, with: { store: '${{ matrix.to }}', key: k } }\n";
    for stage in ["  d: { uses: download, with: { store: far, key: k } }\n", chosen] {
        file(&format!("{NEITHER}{stage}"), "");
        assert_eq!(run(&tl, &["p.yaml", "--only", "z"]).code, 0);
        assert!(!ran(), "{stage}");
        run(&tl, &["p.yaml", "--only", "d"]);
        assert!(ran(), "{stage}");
    }
    let before = uses(&tl).len();
    // Everything that can be opened with what was read is opened.
    let opened = [
        json!({ "secret": "printed", "purpose": "store", "store": "far" }),
        json!({ "secret": "printed", "purpose": "channel", "channel": "hook" }),
    ];
    assert_eq!(uses(&tl)[before - 2..], opened);
    // Any run may send what `notify` names, and a stage that is done sends to its own.
    file(NEITHER, "notify: [{ when: [failure], to: [hook] }]\n");
    assert_eq!(run(&tl, &["p.yaml", "--only", "z"]).code, 0);
    assert!(ran());
    assert_eq!(uses(&tl)[before..], opened);
    file(&format!("{NEITHER}  n: {{ uses: notify, with: {{ to: [hook], subject: s }} }}\n"), "");
    assert_eq!(run(&tl, &["p.yaml", "--only", "z"]).code, 0);
    assert!(!ran());
    run(&tl, &["p.yaml", "--only", "n"]);
    assert!(ran());
}

/// What a stage with secrets in its variables and its settings has in the journal and in the audit log.
const STAGES: &str = r#"secrets:
  token: { from: env, name: TOKEN_OF_TEST }
  identity: { from: file, path: identity.txt }
stages:
  program:
    env: { TOKEN: '${{ secrets.token }}', HEADER: 'Bearer ${{ secrets.token }}/x', BOTH: "${{ secrets.token + secrets.token }}" }
    run: [sh, -c, 'echo ran >> ran.txt']
  fetch: { uses: download, with: { store: shelf, key: sealed } }
  opened: { needs: fetch, uses: decrypt, with: { artifact: '${{ needs.fetch.outputs.artifact }}', identity: '${{ secrets.identity }}' } }
  put: { needs: opened, uses: upload, with: { artifact: '${{ needs.opened.outputs.artifact }}', store: shelf, key: plain } }
  last: { needs: [program, put], run: [test, -e, go] }
"#;

fn with_stages() -> Tl {
    let tl = Tl::new();
    tl.write("plain", "hello\n").pipeline(STAGES).ok(&["seal", "-R", "recipients.txt", "-o", "shelf/sealed", "plain"]);
    let digest = timelocker::value::sha256(fs::read(tl.file("shelf/sealed")).unwrap());
    tl.write("shelf/sealed.sha256", format!("{digest}  sealed\n"));
    tl
}

/// The keys were recorded by a build whose settings held the secrets themselves.
#[test]
fn a_secret_is_in_a_key_what_it_always_was() {
    let tl = with_stages();
    let ended = run(&tl, &["p.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let connection = Connection::open(tl.state().join("state.db")).unwrap();
    let mut keys = connection.prepare("SELECT stage, key FROM effects ORDER BY stage").unwrap();
    let keys = keys.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let keys: Vec<(String, String)> = keys.map(Result::unwrap).collect();
    let chain = "c297aa70968c083eb6d4fff368592f7e6ba8966a634f8ce40d5610eed4bc811a";
    let program = "35d0867bc8529667acb9279b1429d2c1fdee63c38d28312805f81dcca8e03e97";
    let expected = [("fetch", chain), ("opened", chain), ("program", program), ("put", chain)];
    assert_eq!(keys, expected.map(|(stage, key)| (stage.to_owned(), key.to_owned())));
    // Another process has other placeholders, and the secret may have changed.
    tl.write("go", "");
    let resumed = crate::support::ended(
        tl.command(&["run", "--resume", "--reporter", "json"]).env("TOKEN_OF_TEST", "another-token"),
    );
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(tl.read("ran.txt"), "ran\n");
}

#[test]
fn each_use_is_on_record_once_for_an_attempt_and_purpose() {
    let tl = with_stages();
    let text = tl
        .read("p.yaml")
        .replace("'echo ran >> ran.txt']", "'echo ran >> ran.txt; test -e again || { touch again; exit 9; }']");
    tl.write(
        "p.yaml",
        text.replace("    run: [sh, -c", "    retry: { attempts: 2, delay: 1ms, exit-codes: [9] }\n    run: [sh, -c"),
    );
    assert_eq!(run(&tl, &["p.yaml"]).code, 1);
    assert_eq!(tl.read("ran.txt"), "ran\nran\n");
    let mut recorded = uses(&tl);
    recorded.sort_by_key(|used| (used["stage"].to_string(), used["attempt"].as_u64()));
    let used = |secret: &str, purpose: &str, stage: &str, attempt: u32| json!({ "secret": secret, "purpose": purpose, "stage": stage, "attempt": attempt });
    let expected = [
        used("identity", "identity", "opened", 1),
        used("token", "env", "program", 1),
        used("token", "env", "program", 2),
    ];
    assert_eq!(recorded, expected);
    let identity = tl.read("identity.txt");
    let identity = identity.lines().last().unwrap();
    for file in files(&tl.state()) {
        let bytes = fs::read(tl.state().join(&file)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for hidden in [VALUE, identity, "tl-secret:"] {
            assert!(!text.contains(hidden), "{file}: {hidden}");
        }
    }
}

#[test]
fn a_placeholder_is_shown_to_nobody() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets: { token: { from: env, name: TOKEN_OF_TEST } }\nstages:\n  a:\n    env: { T: '${{ secrets.token }}', U: 'x${{ secrets.token \
         }}y' }\n    outputs: { o: string }\n    shell: sh\n    run: 'env | sort > seen; echo \"$U\"; echo \"o=$T\" >> $TL_OUTPUT'\nnotify: \
         [{ when: [failure], to: [log] }]\n",
    );
    let ended = run(&tl, &["p.yaml", "--reporter", "json"]);
    assert!(ended.code == 1 && ended.stdout.contains("TL0652") && ended.stdout.contains("x***y"), "{ended:?}");
    assert!(tl.read("seen").contains(&format!("T={VALUE}\n")) && tl.read("seen").contains(&format!("U=x{VALUE}y\n")));
    let plan = tl.ok(&["plan", "p.yaml", "--json"]).stdout;
    for text in [ended.stdout, ended.stderr, plan, tl.read("log.jsonl"), tl.read("seen")] {
        assert!(!text.contains("tl-secret"), "{text}");
    }
}

#[test]
fn a_text_that_looks_like_a_placeholder_stays_as_it_is() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets: { token: { from: env, name: TOKEN_OF_TEST } }\ninputs: { text: { type: string } }\nstages:\n  a:\n    env: { T: '${{ \
         secrets.token }}', LIKE: '${{ inputs.text }}' }\n    shell: sh\n    run: 'printf %s \"$LIKE\" > like; printf %s \"$T\" > token'\n",
    );
    let like = format!("tl-secret:{}:token:", "0".repeat(32));
    let ended = run(&tl, &["p.yaml", "--input", &format!("text={like}")]);
    assert_eq!((ended.code, tl.read("like"), tl.read("token")), (0, like, VALUE.to_owned()));
}

#[test]
fn a_kill_after_the_record_loses_nothing() {
    let tl = Tl::new();
    tl.pipeline(
        "secrets: { token: { from: env, name: TOKEN_OF_TEST } }\nstages:\n  a: { env: { T: '${{ secrets.token }}' }, shell: sh, run: 'test \
         -e go || exec sleep 60; echo ${#T} >> ran' }\n",
    );
    let mut child = tl.command(&["run", "p.yaml"]).env("TOKEN_OF_TEST", VALUE).spawn().unwrap();
    wait_for(|| tl.run(&["audit", "show", "--type", "secret.used"]).stdout.contains("secret.used"));
    kill(&mut child);
    tl.write("go", "");
    wait_for(|| run(&tl, &["--resume"]).code == 0);
    assert_eq!(tl.read("ran"), "11\n");
    let used = json!({ "secret": "token", "purpose": "env", "stage": "a", "attempt": 1 });
    assert_eq!(uses(&tl), [used.clone(), used]);
    tl.ok(&["audit", "verify"]);
}

#[test]
fn no_error_cites_a_part_of_a_secret() {
    let tl = Tl::new();
    for (secret, printed) in [
        ("YmFzZTY0LW9mLWEtc2VjcmV0LXZhbHVlLTE=", "%s\\n"),
        ("first-half-of-it<<second-half-of-it", "%s\\n"),
        ("third-half-of-it", "v=1\\n%s=1\\n"),
    ] {
        tl.pipeline(&format!(
            "secrets: {{ key: {{ from: env, name: TOKEN_OF_TEST }} }}\nstages:\n  a:\n    env: {{ K: '${{{{ secrets.key }}}}' }}\n    \
             run: [sh, -c, 'printf \"{printed}\" \"$K\" >> \"$TL_OUTPUT\"']\n    outputs: {{ v: string }}\n"
        ));
        let ended = ended(tl.command(&["run", "p.yaml", "--junit", "j.xml"]).env("TOKEN_OF_TEST", secret));
        assert!(ended.code == 1 && format!("{ended:?}").contains("the outputs hold a secret"), "{ended:?}");
        for part in secret.split(['=', '<']).filter(|part| !part.is_empty()) {
            assert!(!format!("{ended:?}").contains(part), "{ended:?}");
            for file in files(tl.path()) {
                let bytes = fs::read(tl.file(&file)).unwrap();
                assert!(!bytes.windows(part.len()).any(|found| found == part.as_bytes()), "{file} holds {part}");
            }
        }
    }
}

/// A secret may have a line that is a word of `tl`. Whoever decides by such a word must still be able to.
#[test]
fn the_words_of_tl_stay_whole_whatever_a_secret_is_spelled_like() {
    let tl = Tl::new();
    tl.write("secret", "failure\nsuccess\nrecovered\nstage_a\nlong-enough-for-a-secret\n");
    tl.write("m.hbs", "{{#if (eq result \"success\")}}it went well{{else}}it went wrong{{/if}}\n{{error}}\n");
    tl.pipeline(
        "secrets: { key: { from: file, path: secret } }\nstages:\n  stage_a: { env: { K: '${{ secrets.key }}' }, run: [test, -e, go] }\nnotify:\n  \
         - { when: [failure, recovered], to: [log], template: m.hbs }\n",
    );
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    tl.write("go", "");
    tl.ok(&["run", "p.yaml"]);
    let shown = tl.ok(&["audit", "show", "--json"]).stdout;
    let records: Vec<Json> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, field: &str| -> Vec<Json> {
        records.iter().filter(|record| record["type"] == kind).map(|record| record["data"][field].clone()).collect()
    };
    assert_eq!(of("run.finished", "outcome"), ["failure", "success"]);
    assert_eq!(of("stage.ended", "outcome"), ["failure", "success"]);
    assert_eq!(of("stage.started", "stage"), ["stage_a", "stage_a"]);
    assert_eq!(of("notify.delivered", "when"), ["failure", "recovered"]);
    let said: Vec<Json> = tl.read("log.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let subjects: Vec<&Json> = said.iter().map(|message| &message["subject"]).collect();
    assert_eq!(subjects, ["it went wrong", "it went well"]);
    assert!(!shown.contains("long-enough"), "{shown}");
}

#[test]
fn instances_whose_values_are_secrets_are_told_apart() {
    let tl = Tl::new();
    tl.write("one", "the-first-secret").write("two", "the-second-secret").pipeline(
        "secrets: { one: { from: file, path: one }, two: { from: file, path: two } }\nstages:\n  many:\n    strategy: { matrix: { \
         key: [the-first-secret, the-second-secret] } }\n    env: { K: '${{ matrix.key }}', ONE: '${{ secrets.one }}', TWO: '${{ \
         secrets.two }}' }\n    run: 'test \"$K\" = \"$ONE\"'\n    shell: sh\n",
    );
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    let shown: Json = serde_json::from_str(&tl.ok(&["show", "--json"]).stdout).unwrap();
    let rows = shown["stages"].as_array().unwrap().iter().filter(|row| row["instance"].is_string());
    let mut rows: Vec<(&str, &str)> =
        rows.map(|row| (row["instance"].as_str().unwrap(), row["outcome"].as_str().unwrap())).collect();
    rows.sort_unstable();
    assert_eq!(rows, [("*** #1", "success"), ("*** #2", "failure")]);
}

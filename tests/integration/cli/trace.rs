//! The log that `TL_LOG` produces.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value as Json;

use crate::support::faulty_s3::{Action, Fault, Op, PLAIN, Rule};
use crate::support::{Ended, Tl, ended};

/// A chain, a stage with instances, and one that is retried.
const STAGES: &str = r"stages:
  collect: { uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: '${{ run.id }}' } }
  many: { strategy: { matrix: { i: [7, 8] } }, run: [echo, '${{ matrix.i }}'] }
  twice: { retry: { attempts: 2, delay: 1ms, exit-codes: [9] }, run: 'test -e tried || { touch tried; exit 9; }', shell: sh }
";

fn logged(tl: &Tl, environment: &[(&str, &str)]) -> Ended {
    ended(tl.command(&["run", "p.yaml"]).envs(environment.iter().copied()))
}

fn json_lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn each_line_says_of_which_run_stage_and_attempt_it_is() {
    let tl = Tl::new();
    tl.write("data/a.txt", "hello").pipeline(STAGES);
    let log = tl.file("tl.log");
    let to_file = ("TL_LOG_FILE", log.to_str().unwrap());
    let first = logged(&tl, &[("TL_LOG", "debug"), ("TL_LOG_FORMAT", "json"), to_file]);
    assert!(first.code == 0 && first.stderr.is_empty(), "{first:?}");
    let run = tl.last_run();
    let text = tl.read("tl.log");
    let lines = json_lines(&text);
    let of = |stage: &str, message: &str| -> Vec<Json> {
        let is_meant = |line: &&Json| line["span"]["stage"] == stage && line["fields"]["message"] == message;
        let spans = lines.iter().filter(is_meant).inspect(|line| {
            let outer = &line["spans"][0];
            assert_eq!(
                (&outer["name"], &outer["run"], &outer["pipeline"], &outer["session"]),
                (&"run".into(), &run.as_str().into(), &"test".into(), &1.into()),
                "{line}"
            );
        });
        spans.map(|line| line["span"].clone()).collect()
    };
    for stage in ["collect", "seal", "deliver"] {
        assert_eq!(of(stage, "done"), [serde_json::json!({ "name": "stage", "stage": stage, "attempt": 1 })]);
    }
    let mut instances: Vec<String> = of("many", "done").iter().map(|span| span["instance"].to_string()).collect();
    instances.sort();
    assert_eq!(instances, ["\"7\"", "\"8\""]);
    let failed: Vec<Json> = of("twice", "failed").iter().map(|span| span["attempt"].clone()).collect();
    let done: Vec<Json> = of("twice", "done").iter().map(|span| span["attempt"].clone()).collect();
    assert_eq!((failed, done), (vec![Json::from(1)], vec![Json::from(2)]));
    for message in ["journal written", "program started", "program ended", "tried again later", "ended"] {
        assert!(lines.iter().any(|line| line["fields"]["message"] == message), "{message}: {text}");
    }
    // Only the owner can read it. Another run appends to it, this time in the human format.
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(logged(&tl, &[("TL_LOG", "timelocker=info"), to_file]).code, 0);
    let both = tl.read("tl.log");
    let second = both.strip_prefix(&text).unwrap();
    let spans = format!("run{{run={} pipeline=test session=1}}:stage{{stage=seal attempt=1}}", tl.last_run());
    assert!(
        second.lines().any(|line| line.contains(&spans) && line.contains(" INFO ") && line.contains("done")),
        "{second}"
    );
    assert!(!second.contains("journal written"), "that is no `info`: {second}");
}

#[test]
fn without_a_wish_nothing_is_logged_and_with_one_it_goes_to_standard_error() {
    let tl = Tl::new();
    tl.pipeline("stages: { a: { run: ['true'] } }\n");
    let quiet = logged(&tl, &[]);
    assert!(quiet.code == 0 && quiet.stderr.is_empty(), "{quiet:?}");
    let loud = logged(&tl, &[("TL_LOG", "info")]);
    assert!(loud.code == 0 && loud.stderr.contains("stage{stage=a attempt=1}"), "{loud:?}");
    assert_eq!(tl.redact(&quiet.stdout).lines().count(), tl.redact(&loud.stdout).lines().count());
}

#[test]
fn a_wish_that_makes_no_sense_is_refused_before_anything_runs() {
    let tl = Tl::new();
    tl.pipeline("stages: { a: { run: [touch, ran] } }\n");
    let status = std::process::Command::new("mkfifo").arg(tl.file("pipe")).status().unwrap();
    assert!(status.success());
    let pipe = tl.file("pipe");
    for environment in [
        [("TL_LOG", "loud"), ("TL_LOG_FORMAT", "")],
        [("TL_LOG", "a=b=c"), ("TL_LOG_FORMAT", "")],
        [("TL_LOG", "="), ("TL_LOG_FORMAT", "")],
        [("TL_LOG", "info,"), ("TL_LOG_FORMAT", "")],
        [("TL_LOG", "timelocker[span]=debug"), ("TL_LOG_FORMAT", "")],
        [("TL_LOG", "info"), ("TL_LOG_FORMAT", "xml")],
        [("TL_LOG", "info"), ("TL_LOG_FILE", "nowhere/tl.log")],
        [("TL_LOG", "info"), ("TL_LOG_FILE", pipe.to_str().unwrap())],
    ] {
        let refused = logged(&tl, &environment);
        assert!(refused.code == 2 && refused.stderr.contains("TL0790"), "{environment:?}: {refused:?}");
    }
    assert!(!tl.file("ran").exists());
    // Lost lines are reported.
    let full = logged(&tl, &[("TL_LOG", "info"), ("TL_LOG_FILE", "/dev/full")]);
    assert!(full.code == 0 && full.stderr.contains("TL0790") && full.stderr.contains("No space"), "{full:?}");
    // The state folder holds the files of the program alone.
    let within = logged(&tl, &[("TL_LOG", "info"), ("TL_LOG_FILE", "state/audit/tl.log")]);
    assert!(within.code == 2 && within.stderr.contains("in the state folder"), "{within:?}");
    assert!(!tl.file("state/audit/tl.log").exists());
}

#[test]
fn no_line_holds_a_secret() {
    const SECRET: &str = "hunter2-hunter2 \"quoted\"";
    let server = Fault::start();
    let tl = Tl::new();
    tl.write("data/a.txt", "hello");
    tl.write(
        "p.yaml",
        format!(
            "version: 1\nname: test\nsecrets:\n  s3: {{ from: env, name: S3 }}\n  word: {{ from: env, name: WORD }}\nstores:\n  \
             cloud: {{ uses: s3, with: {{ bucket: {PLAIN}, endpoint: '{}', allow-private: true, path-style: true, region: x-1, \
             access-key-id: AKIATESTTESTTESTTEST, secret-access-key: '${{{{ secrets.s3 }}}}' }} }}\nstages:\n  \
             collect: {{ uses: archive, with: {{ sources: [data] }} }}\n  deliver: {{ needs: collect, uses: upload, with: {{ \
             artifact: '${{{{ needs.collect.outputs.artifact }}}}', store: cloud, key: a, overwrite: true }} }}\n  other: {{ uses: archive, with: {{ sources: [data] }} }}\n  send: {{ needs: other, uses: upload, with: {{ \
             artifact: '${{{{ needs.other.outputs.artifact }}}}', store: cloud, key: b, overwrite: true }} }}\n  says: {{ env: {{ W: '${{{{ \
             secrets.word }}}}' }}, run: 'echo \"$W\"; exit 1', shell: sh }}\n",
            server.endpoint()
        ),
    );
    let all = [
        "timelocker",
        "aws_config",
        "aws_sdk_s3",
        "aws_sigv4",
        "aws_smithy_runtime",
        "aws_runtime",
        "hyper",
        "reqwest",
    ];
    let filter: Vec<String> = all.iter().map(|target| format!("{target}=trace")).collect();
    for format in ["human", "json"] {
        let environment = [
            ("TL_LOG", filter.join(",")),
            ("TL_LOG_FORMAT", format.to_owned()),
            ("S3", "not/a/secret".to_owned()),
            ("WORD", SECRET.to_owned()),
        ];
        // A server's answer may repeat what it was sent.
        server.rule(Rule::once(Op::Put, Action::Error(400, "not/a/secret", &[])));
        let ran = ended(tl.command(&["run", "p.yaml"]).envs(environment));
        assert!(ran.code == 1 && ran.stderr.contains("request answered") && ran.stderr.contains("aws_"), "{ran:?}");
        assert!(ran.stderr.contains("400 ***"), "{format}: {ran:?}");
        for secret in [SECRET, "not/a/secret", "hunter2-hunter2"] {
            assert!(!ran.stderr.contains(secret) && !ran.stdout.contains(secret), "{format}: {secret}: {ran:?}");
        }
    }
}

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::value::schema_of;

fn text(text: &str) -> String {
    text.to_owned()
}

fn name() -> StageName {
    StageName { stage: text("deliver"), instance: None }
}

fn instance() -> StageName {
    StageName { instance: Some(text("nas")), ..name() }
}

fn start() -> Box<RunStart> {
    Box::new(RunStart {
        pipeline: text("orders"),
        file: text("/srv/orders.yaml"),
        file_sha256: text("ab"),
        extends: Vec::new(),
        inputs: json!({ "day": 3 }).as_object().unwrap().clone(),
        plan_sha256: None,
        session: None,
        version: text("0.1.0"),
    })
}

fn resume() -> Box<RunStart> {
    Box::new(RunStart {
        extends: vec![ExtendedFile { file: text("base.yaml"), sha256: text("cd") }],
        plan_sha256: Some(text("ef")),
        session: Some(2),
        ..*start()
    })
}

fn end(outcome: &str) -> RunEnd {
    let (pipeline, outcome) = (text("orders"), text(outcome));
    RunEnd { pipeline, outcome, exit_code: Some(0), errors: None, left_out: Vec::new(), counts: None }
}

fn upload() -> UploadRef {
    UploadRef { uri: text("s3://vault/a"), upload: text("id-1"), of: text("01J") }
}

fn message() -> SentMessage {
    SentMessage { channel: text("ops"), id: text("01J-0"), when: text("failure"), attempt: 2, how: text("250 queued") }
}

/// Each type with all its members, and where some may be missing, without them.
fn samples() -> Vec<Record> {
    let (uri, error) = (|| text("dir:///shelf/a"), || text("no space"));
    vec![
        Record::RunStarted(start()),
        Record::RunResumed(resume()),
        Record::RunFinished(end("success")),
        Record::RunFinished(RunEnd { left_out: vec![text("prove")], ..end("failure") }),
        Record::RunFinished(RunEnd { exit_code: None, errors: Some(vec![error()]), ..end("blocked") }),
        Record::RunUnsigned { error: error() },
        Record::StageStarted { name: name() },
        Record::StageStarted { name: instance() },
        Record::StageRetrying { name: instance(), attempt: 1, delay_ms: 1_000, error: error() },
        Record::StageEnded { name: name(), outcome: text("success"), detail: None, recalled: false },
        Record::StageEnded { name: name(), outcome: text("failure"), detail: Some(error()), recalled: true },
        Record::UploadIntent { name: name(), uri: uri(), overwrite: false, lock_until: None },
        Record::UploadResumed { name: name(), uri: uri(), parts: 3, bytes: 24 },
        Record::UploadDone {
            name: instance(),
            uri: uri(),
            size: 7,
            sha256: text("ab"),
            version: Some(text("v1")),
            lock_until: Some(text("2027-01-01T00:00:00Z")),
        },
        Record::UploadFailed { name: name(), uri: uri(), error: error() },
        Record::UploadAborted(upload()),
        Record::UploadAbandoned(upload()),
        Record::SealIntent { name: name(), recipients: vec![text("age1x")] },
        Record::SealDone { name: name(), size: 9, plaintext_size: 7, header_sha256: text("ab") },
        Record::KeyUsed { name: name(), recipients: vec![text("age1x")] },
        Record::SecretUsed {
            secret: text("token"),
            purpose: text("env"),
            by: SecretUser::Attempt { name: instance(), attempt: 2 },
        },
        Record::SecretUsed {
            secret: text("token"),
            purpose: text("store"),
            by: SecretUser::Store { store: text("vault") },
        },
        Record::SecretUsed {
            secret: text("token"),
            purpose: text("channel"),
            by: SecretUser::Channel { channel: text("ops") },
        },
        Record::VerifyPassed { name: name(), uri: uri(), level: text("content"), checked_bytes: 7 },
        Record::VerifyFailed { name: name(), uri: uri(), error: error() },
        Record::NotifyDelivered(message()),
        Record::NotifyFailed { message: message(), again: true },
        Record::AuditTornTail { file: text("7-20260101T000000000Z"), length: 5, sha256: text("ab") },
        Record::AuditAccepted {
            directory: text("damaged-1"),
            first_problem: Some(text("record 3 was changed")),
            origin: Some(text("tl/h1/x")),
            problems: 1,
            reason: text("a disk broke"),
            records: 30,
            root: Some(text("AAAA")),
            size: Some(30),
        },
        Record::ClockJump { from: text("2026-01-01T01:00:00.000Z"), to: text("2026-01-01T00:00:00.000Z") },
    ]
}

fn line(record: Record) -> String {
    let actor = Actor { host: text("h1"), pid: 4711, uid: 1000, user: text("ana") }.render();
    let place = Place { actor: &actor, epoch: 0, prev: &encode(&[0; 32]), seq: 7 };
    let mut out = Vec::new();
    Prepared::new(&Draft::from(record).run("01J"), &actor).unwrap().render(
        &mut out,
        &place,
        "2026-11-24T03:04:05.678Z",
    );
    String::from_utf8(out).unwrap()
}

/// The bytes of each type. They are a published format: a difference here breaks the logs that exist.
#[test]
fn the_bytes_of_each_type() {
    let mut lines: Vec<(String, String)> = Vec::new();
    for sample in samples() {
        let kind = Draft::from(sample.clone()).kind;
        lines.push((kind, line(sample)));
    }
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    for of_kind in lines.chunk_by(|a, b| a.0 == b.0) {
        let lines: Vec<&str> = of_kind.iter().map(|(_, line)| line.as_str()).collect();
        insta::assert_snapshot!(of_kind[0].0.as_str(), lines.join("\n"));
    }
}

#[test]
fn each_type_has_a_sample_and_is_read_back() {
    let schema = schema_of::<Record>();
    let types =
        schema["oneOf"].as_array().unwrap().iter().map(|one| one["properties"]["type"]["const"].as_str().unwrap());
    let sampled: BTreeSet<String> = samples().into_iter().map(|sample| Draft::from(sample).kind).collect();
    assert_eq!(types.map(str::to_owned).collect::<BTreeSet<_>>(), sampled);
    for sample in samples() {
        let Ok(entry) = LogEntry::parse(line(sample.clone()).as_bytes()) else { panic!("{sample:?}") };
        assert_eq!((entry.severity, entry.record()), (sample.severity(), Some(sample)));
    }
}

#[test]
fn a_type_of_a_newer_release_is_read_as_it_stands() {
    let newer = line(samples().remove(0)).replace("run.started", "run.paused");
    let Ok(entry) = LogEntry::parse(newer.as_bytes()) else { panic!("{newer}") };
    assert_eq!((entry.kind.as_str(), entry.record()), ("run.paused", None));
    assert_eq!(entry.data["pipeline"], "orders");
}

#[test]
fn the_schema_holds_each_type_to_its_data() {
    let schema = jsonschema::draft7::new(&entry_schema()).unwrap();
    for sample in samples() {
        let mut entry: serde_json::Value = serde_json::from_str(&line(sample)).unwrap();
        assert!(schema.is_valid(&entry), "{entry:#}");
        entry["data"] = json!({});
        assert!(!schema.is_valid(&entry), "{entry:#}");
    }
}

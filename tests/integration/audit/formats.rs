use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use timelocker::audit::{Draft, Error, Filter, Severity, read};
use timelocker::crypto::sign;

use super::sample::{Put as _, Sample, entry};

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Sha256::new(), Digest::chain_update).finalize().into()
}

/// The tree hash as RFC 6962, section 2.1, defines it.
fn root(lines: &[&[u8]]) -> [u8; 32] {
    match lines {
        [] => sha256(&[]),
        [line] => sha256(&[&[0], line]),
        _ => {
            let half = lines.len().next_power_of_two() / 2;
            sha256(&[&[1], &root(&lines[..half]), &root(&lines[half..])])
        }
    }
}

/// Reads the checkpoint as the C2SP documents specify, without using the log's own code.
#[test]
fn a_checkpoint_is_a_signed_note() {
    let sample = Sample::new(37, 37);
    let note = fs::read_to_string(sample.dir.join("checkpoint")).unwrap();
    let vkey = fs::read_to_string(sample.dir.join("log.vkey")).unwrap();
    let [name, id, key] = vkey.trim_end().splitn(3, '+').collect::<Vec<_>>().try_into().unwrap();
    let tagged = STANDARD.decode(key).unwrap();
    let (&[kind], public) = tagged.split_first_chunk().unwrap();
    let public: &[u8; 32] = public.try_into().unwrap();
    assert_eq!(kind, 0x01);
    let hash = sha256(&[name.as_bytes(), b"\n", &[0x01], public]);
    assert_eq!(id, format!("{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]));

    let (text, signature) = note.split_once("\n\n").unwrap();
    let text = format!("{text}\n");
    let signature = signature.strip_suffix('\n').unwrap();
    let blob = STANDARD.decode(signature.strip_prefix(&format!("\u{2014} {name} ")).unwrap()).unwrap();
    assert_eq!(blob[..4], hash[..4]);
    assert!(sign::verify(public, text.as_bytes(), blob[4..].try_into().unwrap()));

    let content = fs::read(sample.segment()).unwrap();
    let lines: Vec<&[u8]> = content.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').collect();
    assert_eq!(text, format!("{name}\n37\n{}\n", STANDARD.encode(root(&lines))));
    let parts: Vec<&str> = name.split('/').collect();
    assert_eq!((parts[0], parts.len(), parts[2].len()), ("tl", 3, 16));
}

/// Walks the chain as a short script would.
#[test]
fn each_record_names_the_one_before() {
    let sample = Sample::new(20, 7);
    let mut previous = [0; 32];
    for (number, line) in sample.lines().iter().enumerate() {
        let line = line.strip_suffix(b"\n").unwrap();
        let record: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(record["prev"], STANDARD.encode(previous));
        assert_eq!(record["seq"], number);
        assert_eq!((&record["epoch"], &record["v"]), (&Value::from(0), &Value::from(1)));
        let keys: Vec<&String> = record.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["actor", "data", "epoch", "prev", "run", "seq", "sev", "ts", "type", "v"]);
        previous = sha256(&[&[0], line]);
    }
}

/// A16: whatever a field contains, a record stays one line or is refused before anything is written.
#[test]
fn nothing_breaks_out_of_its_line() {
    let sample = Sample::new(1, 1);
    let log = sample.open();
    let nasty = [
        "\n",
        "\r\n",
        "\u{2028}\u{2029}",
        "\0",
        "\u{1b}[2J",
        "\u{7f}\u{85}",
        "\"},\n{\"v\":1",
        "\\u000a",
        "😂\u{feff}",
    ];
    for text in nasty {
        let entry = Draft::new("a.b", Severity::Info).run(text).with(if text.is_ascii() { text } else { "k" }, text);
        log.put(&[entry]).unwrap();
    }
    let lines = sample.lines();
    assert_eq!(lines.len(), 1 + nasty.len());
    for (line, text) in lines[1..].iter().zip(nasty) {
        assert!(line[..line.len() - 1].iter().all(|b| *b >= 0x20), "{text:?}");
        let record: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(record["run"], text);
    }
    let before = fs::read(sample.segment()).unwrap();
    let fine = Draft::new("a.b", Severity::Info);
    let refused = [
        fine.clone().with("ключ", 1),
        fine.clone().with("x", 1.5),
        fine.clone().with("x", u64::MAX),
        fine.clone().with("x", "y".repeat(65_536)),
        Draft::new("a\nb", Severity::Info),
        Draft::new("A.b", Severity::Info),
    ];
    for entry in refused {
        // All or nothing: the valid record before it is not written either.
        let error = log.put(&[fine.clone(), entry]).unwrap_err();
        assert!(matches!(error, Error::Kind(_) | Error::Data { .. } | Error::TooLong { .. }), "{error}");
        assert_eq!(fs::read(sample.segment()).unwrap(), before);
    }
    log.put(&[fine]).unwrap();
    log.checkpoint().unwrap();
    assert_eq!(sample.verify().problems, []);
}

#[test]
fn one_size_is_signed_once_and_never_overwritten() {
    let sample = Sample::empty();
    let log = sample.open();
    assert_eq!(log.checkpoint().unwrap().size, 0);
    log.put(&[entry(0)]).unwrap();
    let first = log.checkpoint().unwrap();
    let before = sample.snapshot();
    assert_eq!(log.checkpoint().unwrap(), first);
    assert_eq!(sample.open().checkpoint().unwrap(), first);
    assert_eq!(sample.snapshot(), before);
}

#[test]
fn nobody_else_can_read_any_file() {
    check_mode(&Sample::new(3, 1).dir);
}

fn check_mode(path: &Path) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    assert_eq!(mode, if metadata.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            check_mode(&entry.unwrap().path());
        }
    }
}

#[test]
fn records_are_read_by_filter() {
    let sample = Sample::empty();
    let log = sample.open();
    let new = |kind: &str, severity| Draft::new(kind, severity).run("r1");
    log.put(&[new("run.started", Severity::Info), new("runner.x", Severity::Error)]).unwrap();
    log.put(&[Draft::new("run.finished", Severity::Critical)]).unwrap();
    let seqs = |filter: Filter| read(&sample.dir, filter).unwrap().map(|r| r.unwrap().seq).collect::<Vec<_>>();
    assert_eq!(seqs(Filter::default()), [0, 1, 2]);
    assert_eq!(seqs(Filter { kind: Some("run".to_owned()), ..Filter::default() }), [0, 2]);
    assert_eq!(seqs(Filter { run: Some("r1".to_owned()), ..Filter::default() }), [0, 1]);
    assert_eq!(seqs(Filter { severity: Some(Severity::Error), ..Filter::default() }), [1, 2]);
    assert_eq!(seqs(Filter { from: 1, ..Filter::default() }), [1, 2]);
    let now = jiff::Timestamp::now();
    assert_eq!(seqs(Filter { until: Some(now + jiff::SignedDuration::from_secs(9)), ..Filter::default() }).len(), 3);
    assert_eq!(seqs(Filter { since: Some(now + jiff::SignedDuration::from_secs(9)), ..Filter::default() }).len(), 0);
    assert!(matches!(read(&sample.dir.join("none"), Filter::default()), Err(Error::Missing(_))));
}

use std::fs::{self, OpenOptions};
use std::io::Write;

use timelocker::audit::{Error, Filter, Log, Problem, accept, read};

use super::sample::{Put as _, Sample, entry};

/// A5: an interrupted write leaves a tail that is moved aside, recorded, and never mistaken for a record.
#[test]
fn a_torn_tail_of_every_length_is_repaired() {
    let sample = Sample::new(5, 5);
    sample.open().put(&[entry(5), entry(6)]).unwrap();
    let lines = sample.lines();
    let (whole, next) = (lines[..6].concat(), &lines[6]);
    for length in 1..next.len() {
        fs::write(sample.segment(), &whole).unwrap();
        fs::remove_dir_all(sample.dir.join("torn")).unwrap();
        let early = sample.open();
        fs::write(sample.segment(), [&whole, &next[..length]].concat()).unwrap();
        let report = sample.verify();
        assert_eq!(report.problems, [Problem::TornTail { seq: 6, bytes: length as u64 }]);
        assert!(!report.is_damaged());
        // Every other one is repaired by a writer that is already open.
        let opened = if length % 2 == 0 { &early } else { &sample.open() };
        assert_eq!(opened.put(&[entry(7)]).unwrap(), 7..8);
        assert_eq!(sample.verify().problems, []);
        let records: Vec<_> = read(&sample.dir, Filter::default()).unwrap().map(Result::unwrap).collect();
        assert_eq!(records.len(), 8);
        assert_eq!(records[6].kind, "audit.torn_tail");
        assert_eq!(records[6].data["length"], length);
        let copy = fs::read(sample.dir.join("torn").join(records[6].data["file"].as_str().unwrap())).unwrap();
        assert_eq!(copy, &next[..length]);
    }
    println!("{} torn tails repaired", next.len() - 1);
}

/// A crash after the tail was copied and cut, but before it was recorded.
#[test]
fn an_unrecorded_copy_of_a_tail_is_recorded_later() {
    let sample = Sample::new(5, 5);
    fs::write(sample.dir.join("torn/00000000000000000005-20260101T000000000Z"), "{\"act").unwrap();
    sample.open();
    sample.open();
    let records: Vec<_> = read(&sample.dir, Filter::default()).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 6);
    assert_eq!((records[5].kind.as_str(), records[5].data["length"].as_u64()), ("audit.torn_tail", Some(5)));
}

/// A torn tail does not hide that signed records are missing.
#[test]
fn a_torn_tail_below_the_signature_is_damage() {
    let sample = Sample::new(5, 5);
    let content = fs::read(sample.segment()).unwrap();
    fs::write(sample.segment(), &content[..content.len() - 1]).unwrap();
    assert!(matches!(Log::open(&sample.dir), Err(Error::Damaged(_))));
    assert!(sample.verify().is_damaged());
    assert_eq!(fs::read(sample.segment()).unwrap().len(), content.len() - 1);
}

/// A crash between the two files of a checkpoint, or while its temporary file still exists as a second link.
#[test]
fn a_half_kept_checkpoint_is_completed() {
    let sample = Sample::new(10, 5);
    fs::copy(sample.signed(5), sample.dir.join("checkpoint")).unwrap();
    fs::hard_link(sample.signed(10), sample.dir.join("ckpt/.new")).unwrap();
    let signed = fs::read(sample.signed(10)).unwrap();
    let log = sample.open();
    log.put(&[entry(10)]).unwrap();
    assert_eq!(log.checkpoint().unwrap().size, 11);
    assert_eq!(fs::read(sample.signed(10)).unwrap(), signed);
    assert_eq!(sample.verify().problems, []);
}

/// A crash after each step of the creation of a log.
#[test]
fn an_unfinished_creation_is_finished() {
    for removed in [&["log.vkey"][..], &["log.vkey", "checkpoint"], &["log.vkey", "checkpoint", "ckpt"]] {
        let sample = Sample::empty();
        drop(sample.open());
        let key = fs::read(sample.dir.join("key")).unwrap();
        fs::remove_dir_all(sample.dir.join("seg")).unwrap();
        for name in removed {
            let path = sample.dir.join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        assert_eq!(sample.open().put(&[entry(0)]).unwrap(), 0..1);
        assert_eq!(fs::read(sample.dir.join("key")).unwrap(), key);
        assert_eq!(sample.verify().problems, []);
    }
}

/// A crash after each step of setting a damaged log aside. The next writer completes it.
#[test]
fn an_unfinished_acceptance_is_finished() {
    const MOVED: [&str; 7] = ["key", "log.vkey", "checkpoint", "tree", "ckpt", "torn", "seg"];
    // The crash happens after this many files were moved, or then with the marker moved too, or even with the record
    // written.
    for done in 0..MOVED.len() + 2 {
        let sample = Sample::new(6, 3);
        fs::write(sample.segment(), sample.lines()[..2].concat()).unwrap();
        let marker = r#"{"directory":"damaged-1","data":{"reason":"r"}}"#;
        let aside = sample.dir.join("damaged-1");
        fs::create_dir(&aside).unwrap();
        for name in &MOVED[..done.min(MOVED.len())] {
            fs::rename(sample.dir.join(name), aside.join(name)).ok();
        }
        let name = if done > MOVED.len() { "accepted" } else { "accepting" };
        fs::write(sample.dir.join(name), marker).unwrap();
        if done % 2 == 0 {
            assert_eq!(accept(&sample.dir, "again").unwrap(), aside);
        }
        assert_eq!(sample.open().put(&[entry(0)]).unwrap(), 1..2, "after {done} steps");
        assert_eq!(sample.verify().problems, []);
        let records: Vec<_> = read(&sample.dir, Filter::default()).unwrap().map(Result::unwrap).collect();
        assert_eq!(records[0].kind, "audit.accepted");
        assert_eq!(records[0].data["reason"], "r");
        assert!(aside.join("key").exists() && aside.join("seg").exists());
        assert!(!sample.dir.join("accepted").exists() && !sample.dir.join("accepting").exists());
        // The record exists and the marker is still there.
        fs::write(sample.dir.join("accepted"), marker).unwrap();
        assert_eq!(sample.open().put(&[entry(1)]).unwrap(), 2..3);
    }
}

/// A decision that somebody else wrote puts no sound log aside.
#[test]
fn a_forged_decision_puts_no_sound_log_aside() {
    let sample = Sample::new(6, 3);
    let decision = sample.dir.join("accepting");
    fs::write(&decision, r#"{"directory":"damaged-1","data":{"reason":"r"}}"#).unwrap();
    let refused = Log::open(&sample.dir).err().unwrap();
    assert!(refused.to_string().contains("damaged"), "{refused}");
    assert!(!sample.dir.join("damaged-1").exists() && sample.dir.join("key").exists());
    // To accept it forgets the decision: there is no damage to accept.
    assert!(matches!(accept(&sample.dir, "why"), Err(Error::NotDamaged)));
    assert!(!decision.exists());
    assert_eq!(sample.open().put(&[entry(6)]).unwrap(), 6..7);
    assert_eq!(sample.verify().problems, []);
}

/// Lines after the signed ones that no writer wrote.
#[test]
fn garbage_after_the_signed_records_is_damage() {
    for garbage in ["\n", "{}\n", "\0\0\0\n", &format!("{}\n", "x".repeat(70_000)), "{\"v\":1}\n{\"to"] {
        let sample = Sample::new(5, 5);
        OpenOptions::new().append(true).open(sample.segment()).unwrap().write_all(garbage.as_bytes()).unwrap();
        assert!(sample.verify().is_damaged(), "{garbage:.10}");
        assert!(matches!(Log::open(&sample.dir), Err(Error::Damaged(_))), "{garbage:.10}");
    }
    // A last line without a newline may be a crash, however long it is.
    let sample = Sample::new(5, 5);
    let long = "x".repeat(200_000);
    OpenOptions::new().append(true).open(sample.segment()).unwrap().write_all(long.as_bytes()).unwrap();
    assert_eq!(sample.verify().problems, [Problem::TornTail { seq: 5, bytes: 200_000 }]);
    sample.open();
    assert_eq!(sample.verify().problems, []);
}

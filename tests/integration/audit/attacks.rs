use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

use timelocker::audit::{Error, Log, Problem, Verifier, accept, read, verify, verify_pinned};

use super::sample::{Put as _, Sample, entry, named};

/// A1: every changed bit of a record or newline is detected, and the report names the record.
#[test]
fn every_flipped_bit_is_found_and_its_record_named() {
    let original = Sample::new(60, 11);
    let content = fs::read(original.segment()).unwrap();
    let newlines: Vec<usize> = (0..content.len()).filter(|at| content[*at] == b'\n').collect();
    // A step that is coprime to 8 and to the record length hits every kind of position.
    let sampled = (0..content.len() * 8).step_by(23);
    let bits: Vec<usize> = sampled.chain(newlines.iter().flat_map(|at| at * 8..at * 8 + 8)).collect();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let exact: usize = thread::scope(|scope| {
        let shares = bits.chunks(bits.len().div_ceil(workers));
        let work = |share| flip(&original.copy(), &content, &newlines, share);
        let workers: Vec<_> = shares.map(|share| scope.spawn(move || work(share))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{} bits flipped, all found, {exact} with the very record", bits.len());
    assert!(bits.len() >= 5_000);
    assert_eq!(original.verify().problems, []);
}

/// Flips each of these bits on its own. Returns how often the report names exactly the right record.
fn flip(sample: &Sample, content: &[u8], newlines: &[usize], bits: &[usize]) -> usize {
    let mut exact = 0;
    for &bit in bits {
        let mut changed = content.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        fs::write(sample.segment(), &changed).unwrap();
        let report = sample.verify();
        assert!(report.is_damaged(), "bit {bit}");
        let record = newlines.partition_point(|newline| *newline < bit / 8) as u64;
        let ranges: Vec<(u64, u64)> = report.problems.iter().filter_map(named).collect();
        let (first, last) = *ranges.first().unwrap_or_else(|| panic!("bit {bit}: {:?}", report.problems));
        assert!((first..=last).contains(&record), "bit {bit} of record {record}: {:?}", report.problems);
        // Too little follows the last two records to pin the damage down, so there the report names an interval.
        assert!(first == last || record + 2 >= newlines.len() as u64, "bit {bit}: {:?}", report.problems);
        exact += usize::from(first == last);
    }
    exact
}

/// The same for checkpoints.
#[test]
fn every_flipped_bit_of_a_signature_is_found() {
    let sample = Sample::new(2, 2);
    let mut count = 0;
    for path in [sample.signed(2), sample.dir.join("checkpoint")] {
        let note = fs::read(&path).unwrap();
        for bit in 0..note.len() * 8 {
            let mut changed = note.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &changed).unwrap();
            assert!(sample.verify().is_damaged(), "bit {bit} of {}", path.display());
            count += 1;
        }
        fs::write(&path, &note).unwrap();
    }
    println!("{count} bits of checkpoints flipped, all found");
    assert_eq!(sample.verify().problems, []);
}

/// A2: deletes, duplicates, swaps and inserts each record.
#[test]
fn every_moved_record_is_found() {
    let sample = Sample::new(120, 25);
    let lines = sample.lines();
    let foreign = Sample::new(1, 1).lines().remove(0);
    let mut count = 0;
    for at in 0..lines.len() {
        let mut deleted = lines.clone();
        deleted.remove(at);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at].clone());
        let mut swapped = lines.clone();
        swapped.swap(at, (at + 1) % lines.len());
        let mut inserted = lines.clone();
        inserted.insert(at, foreign.clone());
        for (how, changed) in [("deleted", deleted), ("doubled", doubled), ("swapped", swapped), ("inserted", inserted)]
        {
            fs::write(sample.segment(), changed.concat()).unwrap();
            let problems = sample.verify().problems;
            let (first, last) = problems.iter().find_map(named).unwrap_or_else(|| panic!("{how} {at}: {problems:?}"));
            let near = at.saturating_sub(1) as u64..=at as u64 + 1;
            // The last record has no successor. Only the signature shows that it is missing.
            assert!(
                near.contains(&first) || first <= at as u64 && at as u64 <= last || at + 1 == lines.len(),
                "{how} {at}: {problems:?}"
            );
            count += 1;
        }
    }
    println!("{count} logs with a moved record, all found");
}

/// A3: every truncation below the newest signature is detected, and no writer appends to such a log.
#[test]
fn every_truncation_is_found_and_nothing_is_appended() {
    let sample = Sample::new(60, 20);
    let lines = sample.lines();
    for keep in 0..lines.len() {
        let content = lines[..keep].concat();
        fs::write(sample.segment(), &content).unwrap();
        let problems = sample.verify().problems;
        assert!(problems.contains(&Problem::Truncated { signed: 60, found: keep as u64 }), "{problems:?}");
        assert!(matches!(Log::open(&sample.dir), Err(Error::Damaged(_))));
        assert_eq!(fs::read(sample.segment()).unwrap(), content);
    }
    fs::remove_file(sample.segment()).unwrap();
    assert!(matches!(Log::open(&sample.dir), Err(Error::Damaged(_))));
    assert!(sample.verify().is_damaged());
}

/// Records that are not signed yet can be cut by anyone who can write. The report says how many there are.
#[test]
fn the_unsigned_tail_is_reported() {
    let sample = Sample::new(10, 10);
    sample.open().put(&[entry(10), entry(11)]).unwrap();
    let report = sample.verify();
    assert_eq!((report.records, report.unsigned_tail), (12, 2));
    assert_eq!(report.problems, []);
    // Even there, the chain detects changes.
    let mut lines = sample.lines();
    lines.remove(10);
    fs::write(sample.segment(), lines.concat()).unwrap();
    assert!(sample.verify().is_damaged());
    assert!(matches!(Log::open(&sample.dir), Err(Error::Damaged(_))));
}

#[test]
fn a_writer_sees_a_change_made_while_it_is_open() {
    let sample = Sample::new(10, 10);
    let log = sample.open();
    let content = fs::read_to_string(sample.segment()).unwrap();
    fs::write(sample.segment(), content.replace("\"number\":7", "\"number\":8")).unwrap();
    assert!(matches!(log.put(&[entry(10)]), Err(Error::Damaged(_))));
    fs::write(sample.segment(), &content).unwrap();
    assert_eq!(log.put(&[entry(10)]).unwrap(), 10..11);
}

#[test]
fn checkpoints_cannot_be_removed_edited_or_exchanged() {
    let damaged = |change: &dyn Fn(&Sample)| {
        let sample = Sample::new(30, 10);
        change(&sample);
        let report = sample.verify();
        let refused = matches!(Log::open(&sample.dir), Err(Error::Damaged(_)));
        (report.problems, refused)
    };
    let (problems, refused) = damaged(&|sample| fs::remove_file(sample.signed(30)).unwrap());
    assert!(refused && problems.contains(&Problem::MissingCheckpoint { size: 30 }), "{problems:?}");
    let (problems, refused) = damaged(&|sample| {
        fs::remove_dir_all(sample.dir.join("ckpt")).unwrap();
        fs::remove_file(sample.dir.join("checkpoint")).unwrap();
    });
    assert!(refused && problems.contains(&Problem::MissingCheckpoint { size: 0 }), "{problems:?}");
    let (problems, refused) = damaged(&|sample| {
        fs::rename(sample.signed(20), sample.signed(30)).unwrap();
    });
    assert!(refused && problems.iter().any(|p| matches!(p, Problem::BadCheckpoint { .. })), "{problems:?}");
    let (problems, refused) = damaged(&|sample| {
        let note = fs::read_to_string(sample.signed(30)).unwrap();
        fs::write(sample.signed(30), note.replacen("\n30\n", "\n29\n", 1)).unwrap();
    });
    assert!(refused && problems.iter().any(|p| matches!(p, Problem::BadSignature { .. })), "{problems:?}");
    // Records and signatures are gone: a log that was once complete is not mistaken for a new one.
    let (problems, refused) = damaged(&|sample| {
        for dir in ["ckpt", "seg"] {
            fs::remove_dir_all(sample.dir.join(dir)).unwrap();
        }
        fs::remove_file(sample.dir.join("checkpoint")).unwrap();
    });
    assert!(refused && problems.contains(&Problem::MissingCheckpoint { size: 0 }), "{problems:?}");
}

/// Only the file `checkpoint` is older: `verify` reports it as no damage, and the next writer repairs it.
#[test]
fn an_older_checkpoint_file_is_seen_and_repaired() {
    let sample = Sample::new(30, 10);
    fs::copy(sample.signed(10), sample.dir.join("checkpoint")).unwrap();
    let stale = Problem::StaleCheckpoint { named: Some(10), newest: 30 };
    assert_eq!(sample.verify().problems, [stale]);
    assert_eq!(sample.open().checkpoint().unwrap().size, 30);
    assert_eq!(sample.verify().problems, []);
    fs::remove_file(sample.dir.join("checkpoint")).unwrap();
    assert_eq!(sample.verify().problems, [Problem::StaleCheckpoint { named: None, newest: 30 }]);
    sample.open();
    assert_eq!(sample.verify().problems, []);
}

/// An attacker without the key rewrites everything, with a key of their own where possible.
#[test]
fn a_forger_needs_the_key() {
    let sample = Sample::new(20, 10);
    let text = fs::read_to_string(sample.dir.join("log.vkey")).unwrap();
    let pinned = Verifier::parse(text.trim_end()).unwrap();
    assert_eq!(verify_pinned(&sample.dir, &pinned).unwrap().problems, []);
    let forged = Sample::new(20, 10);
    // The forger's records and checkpoints, the victim's key.
    for file in ["key", "log.vkey"] {
        fs::copy(sample.dir.join(file), forged.dir.join(file)).unwrap();
    }
    let problems = forged.verify().problems;
    let unsigned = problems.iter().filter(|p| matches!(p, Problem::BadSignature { .. })).count();
    assert_eq!(unsigned, 4, "{problems:?}");
    assert!(matches!(Log::open(&forged.dir), Err(Error::Damaged(_))));
    // The victim's signatures, the forger's records.
    let rewritten = Sample::new(20, 10);
    fs::copy(rewritten.segment(), sample.segment()).unwrap();
    let problems = sample.verify().problems;
    assert_eq!(problems, [Problem::RootMismatch { size: 10, last_good: 0 }]);
    assert!(matches!(Log::open(&sample.dir), Err(Error::Damaged(_))));
    // Everything is replaced. Only somebody who remembers the key detects that.
    assert_eq!(rewritten.verify().problems, []);
    let problems = verify_pinned(&rewritten.dir, &pinned).unwrap().problems;
    assert!(problems.iter().any(|p| matches!(p, Problem::WrongKey { .. })), "{problems:?}");
}

#[test]
fn an_exposed_or_foreign_key_is_refused() {
    let sample = Sample::new(1, 1);
    let key = sample.dir.join("key");
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let refused = Log::open(&sample.dir).err().unwrap();
        assert!(matches!(refused, Error::ExposedKey { mode: found, .. } if found == mode), "{refused}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let moved = sample.dir.join("moved");
    fs::rename(&key, &moved).unwrap();
    symlink(&moved, &key).unwrap();
    assert!(matches!(Log::open(&sample.dir), Err(Error::Io { .. })));
    fs::remove_file(&key).unwrap();
    assert!(matches!(Log::open(&sample.dir), Err(Error::Damaged(_))));
    fs::copy(Sample::new(1, 1).dir.join("key"), &key).unwrap();
    assert!(matches!(Log::open(&sample.dir), Err(Error::Damaged(_))));
}

#[test]
fn a_damaged_log_is_put_aside_and_the_new_one_says_so() {
    let sample = Sample::new(30, 10);
    assert!(matches!(accept(&sample.dir, "no reason"), Err(Error::NotDamaged)));
    let origin = sample.open().checkpoint().unwrap().origin;
    let changed = fs::read_to_string(sample.segment()).unwrap().replacen("\"number\":12", "\"number\":13", 1);
    fs::write(sample.segment(), &changed).unwrap();
    let aside = accept(&sample.dir, "disk replaced").unwrap();
    assert_eq!(fs::read_to_string(aside.join("seg/00000000000000000000.jsonl")).unwrap(), changed);
    assert!(verify(&aside).unwrap().is_damaged());
    let report = sample.verify();
    assert_eq!((report.records, report.unsigned_tail, report.problems.as_slice()), (1, 0, &[][..]));
    let first = read(&sample.dir, timelocker::audit::Filter::default()).unwrap().next().unwrap().unwrap();
    assert_eq!(first.kind, "audit.accepted");
    assert_eq!(first.data["reason"], "disk replaced");
    assert_eq!(first.data["origin"], origin);
    assert_eq!(first.data["size"], 30);
    assert_eq!(first.data["problems"], 2);
    assert!(first.data["first_problem"].as_str().unwrap().starts_with("record 12 "), "{:?}", first.data);
    assert_ne!(report.origin.unwrap(), origin);
    assert_eq!(sample.open().put(&[entry(0)]).unwrap(), 1..2);
}

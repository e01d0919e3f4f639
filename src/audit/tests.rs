//! What only a small segment or another clock shows.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::backwards::Backwards;
use super::files::Layout;
use super::log::Log;
use super::read::Forwards;
use super::{Draft, Durability, Error, Filter, Problem, Report, Severity, verify};

const CAPACITY: u64 = 8;

fn layout(dir: &Path) -> Layout {
    let mut layout = Layout::new(dir);
    layout.capacity = CAPACITY;
    layout
}

fn open(dir: &Path) -> Log {
    Log::open_with(layout(dir), Timestamp::now).unwrap()
}

trait Put {
    /// Appends a record for each number.
    fn put(&self, numbers: std::ops::Range<u64>) -> std::ops::Range<u64>;
}

impl Put for Log {
    fn put(&self, numbers: std::ops::Range<u64>) -> std::ops::Range<u64> {
        let batch: Vec<_> = drafts(numbers).iter().map(|draft| self.prepare(draft).unwrap()).collect();
        self.append(&batch, Durability::Synced).unwrap()
    }
}

fn report(dir: &Path) -> Report {
    verify::locked(&layout(dir), None).unwrap()
}

fn drafts(numbers: std::ops::Range<u64>) -> Vec<Draft> {
    numbers.map(|number| Draft::new("a.b", Severity::Info).with("number", number)).collect()
}

fn numbers(dir: &Path, from: u64) -> Vec<u64> {
    let records = Forwards::open(layout(dir), Filter { from, ..Filter::default() }).unwrap();
    records.map(|record| record.unwrap().seq).collect()
}

#[test]
fn segments_follow_each_other() {
    for batch in [1, 3, 8, 40] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        for start in (0..40).step_by(batch) {
            let end = (start + batch as u64).min(40);
            assert_eq!(log.put(start..end), start..end);
        }
        assert_eq!(log.checkpoint().unwrap().size, 40);
        let mut names = super::files::names(&dir.path().join("seg")).unwrap();
        assert_eq!(names.len(), 5);
        assert_eq!(names.pop().unwrap(), "00000000000000000032.jsonl");
        let report = report(dir.path());
        assert_eq!((report.records, report.unsigned_tail, report.problems.as_slice()), (40, 0, &[][..]));
        assert_eq!(numbers(dir.path(), 0), (0..40).collect::<Vec<_>>());
        assert_eq!(numbers(dir.path(), 19), (19..40).collect::<Vec<_>>());
        // Each way of opening it again finds the same end: full segment, new segment, within one.
        assert_eq!(open(dir.path()).put(0..1), 40..41);
        assert_eq!(open(dir.path()).put(0..1), 41..42);
        assert_eq!(self::report(dir.path()).problems, []);
    }
}

#[test]
fn two_writers_meet_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    let mut next = 0;
    for turn in 0..30_u64 {
        let log = if turn % 2 == 0 { &one } else { &two };
        let range = log.put(0..1 + turn % 5);
        assert_eq!(range.start, next);
        next = range.end;
    }
    one.checkpoint().unwrap();
    assert_eq!(report(dir.path()).problems, []);
}

fn backwards(dir: &Path, filter: Filter) -> Vec<u64> {
    Backwards::open(layout(dir), filter).unwrap().map(|entry| entry.unwrap().seq).collect()
}

#[test]
fn a_log_is_read_backwards_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert!(backwards(dir.path(), Filter::default()).is_empty());
    for count in 1..=30 {
        log.put(0..1);
        assert_eq!(backwards(dir.path(), Filter::default()), (0..count).rev().collect::<Vec<_>>());
    }
    let of_kind = |kind: &str| backwards(dir.path(), Filter { kind: Some(kind.to_owned()), ..Filter::default() });
    assert_eq!((of_kind("a").len(), of_kind("b").len()), (30, 0));
    // An unfinished line and a line that is no entry are not there.
    let last = layout(dir.path()).segment(24);
    let text = fs::read_to_string(&last).unwrap();
    fs::write(&last, format!("{text}no entry\n{{\"actor\":")).unwrap();
    assert_eq!(backwards(dir.path(), Filter::default()).len(), 30);
}

/// Lines that are longer than a block, and blocks that end in the middle of lines.
#[test]
fn long_lines_are_read_backwards() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let draft = |size: usize| Draft::new("a.b", Severity::Info).with("text", "x".repeat(size));
    for size in [0, 60_000, 65_000, 10, 65_000, 33_000, 1] {
        log.append(&[log.prepare(&draft(size)).unwrap()], Durability::Buffered).unwrap();
    }
    assert_eq!(backwards(dir.path(), Filter::default()), (0..7).rev().collect::<Vec<_>>());
}

/// A search for what is new reads no further, whatever lies behind it.
#[test]
fn reading_backwards_ends_at_what_is_too_old() {
    fn earlier() -> Timestamp {
        Timestamp::now() - SignedDuration::from_hours(1)
    }
    let dir = tempfile::tempdir().unwrap();
    Log::open_with(layout(dir.path()), earlier).unwrap().put(0..20);
    open(dir.path()).put(0..3);
    fs::remove_file(layout(dir.path()).segment(0)).unwrap();
    fs::create_dir(layout(dir.path()).segment(0)).unwrap();
    let since = Some(Timestamp::now() - SignedDuration::from_mins(1));
    assert_eq!(backwards(dir.path(), Filter { since, ..Filter::default() }), [22, 21, 20]);
    assert!(Backwards::open(layout(dir.path()), Filter::default()).unwrap().any(|entry| entry.is_err()));
}

#[test]
fn a_lying_cache_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).put(0..18);
    let tree = dir.path().join("tree");
    let honest = fs::read_to_string(&tree).unwrap();
    let lie = honest.replacen("\n16\n", "\n16\nA", 1);
    let other = format!("timelocker audit tree v1\n16\n{}\n", "A".repeat(43) + "=");
    for content in ["", "x", &lie, &other, &honest.replace("16", "8")] {
        fs::write(&tree, content).unwrap();
        let log = open(dir.path());
        log.put(0..1);
        assert_eq!(fs::read_to_string(&tree).unwrap(), honest);
        log.checkpoint().unwrap();
        assert_eq!(report(dir.path()).problems, []);
    }
    fs::remove_file(&tree).unwrap();
    open(dir.path());
    assert_eq!(fs::read_to_string(&tree).unwrap(), honest);
}

#[test]
fn missing_short_and_joined_segments_are_found() {
    type Segment<'a> = &'a dyn Fn(u64) -> PathBuf;
    let damaged = |change: &dyn Fn(&Path, Segment<'_>)| {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        log.put(0..30);
        log.checkpoint().unwrap();
        change(dir.path(), &|first| layout(dir.path()).segment(first));
        (report(dir.path()).problems, Log::open_with(layout(dir.path()), Timestamp::now).err())
    };
    let (problems, refused) = damaged(&|_, segment| fs::remove_file(segment(8)).unwrap());
    assert!(problems.contains(&Problem::MissingSegment { first: 8 }), "{problems:?}");
    assert!(matches!(refused, Some(Error::Damaged(_))));
    let (problems, refused) = damaged(&|_, segment| fs::remove_file(segment(24)).unwrap());
    assert!(problems.contains(&Problem::Truncated { signed: 30, found: 24 }), "{problems:?}");
    assert!(matches!(refused, Some(Error::Damaged(_))));
    let (problems, _) = damaged(&|_, segment| {
        let joined = fs::read_to_string(segment(16)).unwrap() + &fs::read_to_string(segment(24)).unwrap();
        fs::write(segment(16), joined).unwrap();
        fs::remove_file(segment(24)).unwrap();
    });
    assert!(matches!(problems.as_slice(), [Problem::SegmentLength { expected: 8, found: 14, .. }]), "{problems:?}");
    let (problems, refused) = damaged(&|dir, _| fs::remove_file(layout(dir).signed(16)).unwrap());
    assert_eq!(problems, [Problem::MissingCheckpoint { size: 16 }]);
    assert!(refused.is_none());
    // The first record of a segment holds the last of the one before.
    let (problems, refused) = damaged(&|_, segment| {
        let text = fs::read_to_string(segment(8)).unwrap();
        fs::write(segment(8), text.replace("\"number\":15", "\"number\":99")).unwrap();
    });
    let [Problem::BrokenChain { first: 15, last: 15, at }, Problem::RootMismatch { size: 16, last_good: 8 }] =
        problems.as_slice()
    else {
        panic!("{problems:?}")
    };
    assert_eq!(at.to_string(), "seg/00000000000000000008.jsonl line 8");
    // Opening reads the last segment only; it is for the verifier to read the others.
    assert!(refused.is_none());
    let (problems, _) = damaged(&|dir, _| fs::write(dir.join("seg/0.jsonl"), "").unwrap());
    assert_eq!(problems, [Problem::ForeignFile { file: "seg/0.jsonl".to_owned() }]);
}

/// A18: the order of records is that of their numbers; a clock set back is said once.
#[test]
fn a_clock_set_back_is_recorded() {
    fn earlier() -> Timestamp {
        Timestamp::now() - SignedDuration::from_hours(1)
    }
    fn later() -> Timestamp {
        Timestamp::now() + SignedDuration::from_hours(24 * 3650)
    }
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).put(0..1);
    let log = Log::open_with(layout(dir.path()), earlier).unwrap();
    assert_eq!(log.put(0..1), 2..3);
    assert_eq!(log.put(0..1), 3..4);
    assert_eq!(Log::open_with(layout(dir.path()), later).unwrap().put(0..1), 4..5);
    assert_eq!(open(dir.path()).put(0..1), 6..7);
    let records = Forwards::open(layout(dir.path()), Filter::default()).unwrap().map(Result::unwrap);
    let kinds: Vec<String> = records.map(|record| record.kind).collect();
    assert_eq!(kinds, ["a.b", "clock.jump", "a.b", "a.b", "a.b", "clock.jump", "a.b"]);
    assert_eq!(numbers(dir.path(), 0), (0..7).collect::<Vec<_>>());
    assert_eq!(report(dir.path()).problems, []);
}

/// Whoever can write the folder can put another log there, longer ones too. A process that has the old one open finds it.
#[test]
fn an_exchanged_log_is_found_by_who_has_it_open() {
    for others in [2, CAPACITY * 3 + 2] {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let log = open(dir.path());
        log.put(0..3);
        open(other.path()).put(0..others);
        fs::rename(dir.path(), dir.path().with_extension("old")).unwrap();
        fs::rename(other.path(), dir.path()).unwrap();
        let batch: Vec<_> = drafts(3..4).iter().map(|draft| log.prepare(draft).unwrap()).collect();
        let error = log.append(&batch, Durability::Synced).unwrap_err().error;
        let is_found =
            matches!(&error, Error::Damaged(problem) if matches!(**problem, Problem::SetBack { known: 3, .. }));
        assert!(is_found, "{others}: {error:?}");
        fs::remove_dir_all(dir.path().with_extension("old")).unwrap();
    }
    // A log that grew by another process is none of that.
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.put(0..3);
    open(dir.path()).put(3..CAPACITY * 3);
    assert_eq!(log.put(0..1), CAPACITY * 3..CAPACITY * 3 + 1);
}

//! Reads a whole log, trusts nothing but the key, and names what does not fit.
//!
//! In flow the files of a log, also of a copy on another machine. Out flows a [`Report`]. Nothing is written, and no secret
//! key is needed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::checkpoint::{self, Checkpoint};
use super::files::{self, Layout, Lock, TIMEOUT};
use super::merkle::Frontier;
use super::merkle::as_base64;
use super::note::Verifier;
use super::record::{LineError, LogEntry, encode};
use super::segment::{self, Line, Lines};
use super::{At, Error, Hash, Problem, identity};

/// Further problems are only counted.
const MAX_PROBLEMS: usize = 1_000;

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The name of the log, when its key can be read.
    pub origin: Option<String>,
    /// The number of records.
    pub records: u64,
    /// The root of the tree over them.
    #[serde(serialize_with = "as_base64")]
    pub root: Hash,
    /// The number of valid checkpoints.
    pub checkpoints: u64,
    /// The newest valid checkpoint.
    pub signed: Option<Checkpoint>,
    /// The number of records after the newest checkpoint: no signature covers them yet.
    pub unsigned_tail: u64,
    /// What does not fit: first keys and checkpoints, then single records in the order of the log, then ranges of records.
    pub problems: Vec<Problem>,
    /// The number of problems that are not listed.
    pub omitted: u64,
}

impl Report {
    /// Whether somebody changed the log. What a crash leaves is not damage.
    pub fn is_damaged(&self) -> bool {
        self.problems.iter().any(Problem::is_damage)
    }
}

/// Verifies the log in this folder with its own `log.vkey`. Writers wait until it is done.
pub fn verify(dir: &Path) -> Result<Report, Error> {
    locked(&Layout::new(dir), None)
}

/// Verifies with a key that was kept elsewhere. That also shows a log that was replaced as a whole, with its key.
pub fn verify_pinned(dir: &Path, pinned: &Verifier) -> Result<Report, Error> {
    locked(&Layout::new(dir), Some(pinned))
}

pub(super) fn locked(layout: &Layout, pinned: Option<&Verifier>) -> Result<Report, Error> {
    let lock = Lock::existing(layout)?;
    let _held = lock.as_ref().map(|lock| lock.shared(TIMEOUT)).transpose()?;
    unlocked(layout, pinned)
}

/// Verifies for a caller that holds the lock.
pub(super) fn unlocked(layout: &Layout, pinned: Option<&Verifier>) -> Result<Report, Error> {
    let names = files::names(layout.dir())?;
    if !names.iter().any(|name| ["log.vkey", "seg", "ckpt", "checkpoint"].contains(&name.as_str())) {
        return Err(Error::Missing(layout.dir().to_owned()));
    }
    let mut findings = Findings::default();
    let verifier = keys(layout, pinned, &mut findings)?;
    let signed = match &verifier {
        Some(verifier) => checkpoints(layout, verifier, &mut findings)?,
        None => BTreeMap::new(),
    };
    let mut walk = Walk::new(layout, &signed, findings);
    walk.segments()?;
    walk.finish()?;
    foreign(layout, names, &mut walk.findings)?;
    let newest = signed.last_key_value().map(|(_, checkpoint)| checkpoint.clone());
    Ok(Report {
        origin: verifier.map(|verifier| verifier.name().to_owned()),
        records: walk.tree.size(),
        root: walk.tree.root(),
        checkpoints: signed.len() as u64,
        unsigned_tail: walk.tree.size().saturating_sub(newest.as_ref().map_or(0, |newest| newest.size)),
        signed: newest,
        problems: walk.findings.problems,
        omitted: walk.findings.omitted,
    })
}

#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    omitted: u64,
}

impl Findings {
    fn push(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.omitted += 1;
        }
    }
}

/// The key to verify with: the pinned one, if any.
fn keys(layout: &Layout, pinned: Option<&Verifier>, findings: &mut Findings) -> Result<Option<Verifier>, Error> {
    let wrong = |reason: &str| Problem::WrongKey { reason: reason.to_owned() };
    let found = match identity::read_verifier(layout) {
        Ok(Some(found)) => Some(found),
        Ok(None) if pinned.is_none() && identity::is_unfinished(layout)? => {
            return Err(Error::Missing(layout.dir().to_owned()));
        }
        Ok(None) => {
            findings.push(wrong("`log.vkey` is missing"));
            None
        }
        Err(Error::Damaged(problem)) => {
            findings.push(*problem);
            None
        }
        Err(error) => return Err(error),
    };
    if let (Some(pinned), Some(found)) = (pinned, &found)
        && pinned != found
    {
        findings.push(wrong("`log.vkey` is not the expected key"));
    }
    Ok(pinned.cloned().or(found))
}

/// All valid checkpoints by size.
fn checkpoints(
    layout: &Layout,
    verifier: &Verifier,
    findings: &mut Findings,
) -> Result<BTreeMap<u64, Checkpoint>, Error> {
    let mut signed = BTreeMap::new();
    for size in checkpoint::sizes(layout)? {
        match checkpoint::read(layout, verifier, size)? {
            Ok(checkpoint) => drop(signed.insert(size, checkpoint)),
            Err(problem) => findings.push(problem),
        }
    }
    let newest = signed.last_key_value().map_or(0, |(size, _)| *size);
    match checkpoint::latest(layout, verifier)? {
        None => findings.push(Problem::StaleCheckpoint { named: None, newest }),
        Some(Err(problem)) => findings.push(problem),
        Some(Ok(latest)) => match signed.get(&latest.size) {
            Some(kept) if kept.root != latest.root => findings.push(checkpoint::forked()),
            Some(_) if latest.size < newest => {
                findings.push(Problem::StaleCheckpoint { named: Some(latest.size), newest });
            }
            Some(_) => {}
            None => {
                findings.push(Problem::MissingCheckpoint { size: latest.size });
                signed.insert(latest.size, latest);
            }
        },
    }
    Ok(signed)
}

/// Reports files that no program reads. `tile` and `anchors` belong to later versions of this format.
fn foreign(layout: &Layout, names: Vec<String>, findings: &mut Findings) -> Result<(), Error> {
    const KNOWN: [&str; 12] = [
        "accepted",
        "accepting",
        "anchors",
        "checkpoint",
        "ckpt",
        "key",
        "lock",
        "log.vkey",
        "seg",
        "tile",
        "torn",
        "tree",
    ];
    let known = |name: &String| {
        let name = name.strip_suffix(".new").unwrap_or(name);
        KNOWN.contains(&name) || name.starts_with("damaged-") || name.is_empty()
    };
    let mut files: Vec<String> = names.into_iter().filter(|name| !known(name)).collect();
    let segment = |name: &String| files::number(name, ".jsonl").is_some_and(|n| n.is_multiple_of(layout.capacity));
    let segments = files::names(&layout.segments())?;
    files.extend(segments.iter().filter(|name| !segment(name)).map(|name| format!("seg/{name}")));
    let checkpoint = |name: &String| files::number(name, ".ckpt").is_some() || name == ".new";
    let checkpoints = files::names(&layout.checkpoints())?;
    files.extend(checkpoints.iter().filter(|name| !checkpoint(name)).map(|name| format!("ckpt/{name}")));
    for file in files {
        findings.push(Problem::ForeignFile { file });
    }
    Ok(())
}

/// One pass over all records.
struct Walk<'a> {
    layout: &'a Layout,
    signed: &'a BTreeMap<u64, Checkpoint>,
    findings: Findings,
    tree: Frontier,
    /// The leaf of the previous record.
    last: Hash,
    /// The next sequence number.
    expected: u64,
    /// Set after a record with a wrong number: the next number, if that one was right and records before it are missing.
    shifted: Option<u64>,
    /// The last record that was reported. A broken link to it is not reported again.
    reported: Option<u64>,
    /// A record whose link to the previous one is broken: either of the two was changed.
    suspect: Option<(u64, At)>,
    /// The size of the last checkpoint that fits, and whether a later one does not.
    last_good: u64,
    diverged: bool,
    /// What the checkpoints show. It is reported last, since a range of records is vaguer than one record.
    intervals: Vec<Problem>,
}

impl<'a> Walk<'a> {
    fn new(layout: &'a Layout, signed: &'a BTreeMap<u64, Checkpoint>, findings: Findings) -> Self {
        Self {
            layout,
            signed,
            findings,
            tree: Frontier::default(),
            last: [0; 32],
            expected: 0,
            shifted: None,
            reported: None,
            suspect: None,
            last_good: 0,
            diverged: false,
            intervals: Vec::new(),
        }
    }

    fn segments(&mut self) -> Result<(), Error> {
        self.compare();
        let starts = segment::list(self.layout)?;
        let mut due = 0;
        for (index, &first) in starts.iter().enumerate() {
            if first != due {
                self.findings.push(Problem::MissingSegment { first: due });
                self.reported = Some(first);
            }
            due = first + self.layout.capacity;
            (self.expected, self.shifted) = (first, None);
            self.segment(first, index + 1 == starts.len())?;
        }
        Ok(())
    }

    fn segment(&mut self, first: u64, is_last: bool) -> Result<(), Error> {
        let path = self.layout.segment(first);
        let name = files::segment_name(first);
        let mut lines = Lines::open(&path, 0)?;
        let mut count = 0;
        while let Some(line) = lines.next().map_err(Error::io("read", &path))? {
            let at = At { segment: name.clone(), line: count + 1 };
            match line {
                Line::Torn(bytes) if is_last => {
                    self.findings.push(Problem::TornTail { seq: self.expected, bytes });
                    break;
                }
                Line::Torn(_) => self.unreadable(at, "the line has no end".to_owned()),
                Line::Long => self.unreadable(at, "longer than 65535 bytes".to_owned()),
                Line::Whole(line) => self.line(line, at),
            }
            count += 1;
            self.last = line.leaf();
            self.tree.push(self.last);
            self.compare();
        }
        let capacity = self.layout.capacity;
        if count > capacity || count < capacity && !is_last {
            self.findings.push(Problem::SegmentLength { segment: name, expected: capacity, found: count });
        }
        Ok(())
    }

    fn unreadable(&mut self, at: At, reason: String) {
        self.findings.push(Problem::BadRecord { seq: self.expected, at, reason });
        self.advance(true);
    }

    fn line(&mut self, line: &[u8], at: At) {
        let seq = self.expected;
        let record = match LogEntry::parse(line) {
            Ok(record) => record,
            Err(LineError::Malformed(reason)) => return self.unreadable(at, reason),
            Err(LineError::NotCanonical) => {
                self.findings.push(Problem::NotCanonical { seq, at });
                return self.advance(true);
            }
        };
        let mut bad = false;
        if record.seq != seq {
            if self.shifted == Some(record.seq) {
                // The previous record has the right number and stands at the wrong place. This one is unchanged.
                self.expected = record.seq;
            } else {
                self.findings.push(Problem::WrongSequence { expected: seq, found: record.seq, at: at.clone() });
                bad = true;
            }
        }
        self.link(record.prev == encode(&self.last), bad, at);
        self.shifted = bad.then(|| record.seq.saturating_add(1));
        self.advance(bad);
    }

    /// Checks the link between a record and the previous one. Changing a record in place breaks the link after it, and the
    /// link before it where `prev` was changed too. So two broken links in a row blame the record between them.
    fn link(&mut self, fits: bool, bad: bool, at: At) {
        let seq = self.expected;
        match self.suspect.take() {
            Some((suspect, at)) if !fits || bad => {
                self.findings.push(Problem::BrokenChain { first: suspect, last: suspect, at });
                self.reported = Some(suspect);
                return;
            }
            Some((suspect, at)) => self.blame_before(suspect, at),
            None => {}
        }
        let known = bad || seq.checked_sub(1).is_some_and(|before| self.reported == Some(before));
        if !fits && !known && self.reported != Some(seq) {
            self.suspect = Some((seq, at));
        }
    }

    fn blame_before(&mut self, suspect: u64, at: At) {
        let first = suspect.saturating_sub(1);
        // The previous record stands in another segment where this one is the first of its own.
        let at = if at.line > 1 || suspect == 0 {
            At { line: at.line.saturating_sub(1).max(1), ..at }
        } else {
            let capacity = self.layout.capacity;
            At { segment: files::segment_name(first / capacity * capacity), line: first % capacity + 1 }
        };
        self.findings.push(Problem::BrokenChain { first, last: first, at });
    }

    fn advance(&mut self, bad: bool) {
        if bad {
            self.reported = Some(self.expected);
            if let Some((suspect, at)) = self.suspect.take().filter(|(suspect, _)| *suspect < self.expected) {
                self.findings.push(Problem::BrokenChain { first: suspect.saturating_sub(1), last: suspect, at });
            }
        }
        self.expected += 1;
    }

    /// Compares with the checkpoint of this size. After a wrong root all later roots are wrong, which is not reported again.
    fn compare(&mut self) {
        let size = self.tree.size();
        let Some(checkpoint) = self.signed.get(&size) else { return };
        if checkpoint.root == self.tree.root() {
            (self.last_good, self.diverged) = (size, false);
        } else if !self.diverged {
            self.diverged = true;
            self.intervals.push(Problem::RootMismatch { size, last_good: self.last_good });
        }
    }

    /// Checks what can be known only at the end.
    fn finish(&mut self) -> Result<(), Error> {
        if let Some((suspect, at)) = self.suspect.take() {
            self.findings.push(Problem::BrokenChain { first: suspect.saturating_sub(1), last: suspect, at });
        }
        for interval in std::mem::take(&mut self.intervals) {
            self.findings.push(interval);
        }
        let (found, signed) = (self.tree.size(), self.signed.last_key_value().map_or(0, |(size, _)| *size));
        if found < signed {
            self.findings.push(Problem::Truncated { signed, found });
        }
        // A writer signs the empty log, and each full segment before it begins the next.
        let kept = checkpoint::sizes(self.layout)?;
        let starts = segment::list(self.layout)?;
        for size in std::iter::once(0).chain(starts.into_iter().filter(|first| *first > 0)) {
            if kept.binary_search(&size).is_err() {
                self.findings.push(Problem::MissingCheckpoint { size });
            }
        }
        Ok(())
    }
}

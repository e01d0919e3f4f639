//! Appending and signing: what a writer does under the exclusive lock.
//!
//! A batch is one `write` and, where somebody waits for it, one `fdatasync`. Killed at any point, it leaves whole records
//! and at most one torn line, which the next writer moves to `torn/` and records. A checkpoint is signed only over records
//! that are on the disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::checkpoint::Checkpoint;
use super::record::{Place, Prepared, encode, format_time};
use super::state::{self, Segment, State};
use super::{Draft, Error, Record, aside, files, merkle};

/// A smaller step back is an adjustment of the clock, not a jump.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// When an append returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the records are on the disk: for intents, results, keys, failures.
    Synced,
    /// When the kernel has them: a crash of the machine may lose them, one of the process does not.
    Buffered,
}

/// A batch that failed.
#[derive(Debug)]
pub struct Interrupted {
    /// How many of its records are in the log: all or none, unless the batch spans two segments.
    pub written: usize,
    /// Why it failed.
    pub error: Error,
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self { written: 0, error }
    }
}

impl State {
    /// Appends a batch and returns its sequence numbers.
    pub(super) fn append(&mut self, batch: &[Prepared], durability: Durability) -> Result<Range<u64>, Interrupted> {
        let now = (self.clock)();
        if let Some(jump) = self.clock_jump(now) {
            let jump = Prepared::new(&jump.into(), &self.actor)?;
            self.write_segments(&[jump], now)?;
        }
        let first = self.tree.size();
        let mut finish = || {
            self.write_segments(batch, now)?;
            if durability == Durability::Synced {
                self.sync()?;
            }
            self.restamp()
        };
        let result = finish();
        let end = self.tree.size();
        let written = usize::try_from(end - first).unwrap_or(usize::MAX);
        result.map(|()| first..end).map_err(|error| Interrupted { written, error })
    }

    /// Appends records of the log's own.
    fn append_own(&mut self, drafts: &[Draft]) -> Result<(), Error> {
        let batch = drafts.iter().map(|draft| Prepared::new(draft, &self.actor)).collect::<Result<Vec<_>, _>>()?;
        self.append(&batch, Durability::Synced).map(drop).map_err(|interrupted| interrupted.error)
    }

    /// Writes and signs the first record of a log that took the place of a damaged one, if it is still missing.
    pub(super) fn record_acceptance(&mut self) -> Result<(), Error> {
        let Some(marker) = aside::accepted(&self.layout)? else { return Ok(()) };
        if self.tree.size() == 0 {
            self.append_own(&[marker.draft()])?;
        }
        self.sign()?;
        aside::finish(&self.layout)
    }

    /// Signs the tree as it is; the same size is signed once.
    pub(super) fn sign(&mut self) -> Result<Checkpoint, Error> {
        if self.read_newest()? {
            self.prove()?;
            self.publish()?;
        }
        let size = self.tree.size();
        if self.newest.size < size {
            // Another process may have appended without syncing, and a signature covers only what is on the disk.
            self.sync()?;
            // A log must never sign what contradicts an earlier signature, whatever happened to this memory.
            let root = self.prove()?;
            let checkpoint = Checkpoint::sign(&self.signer, size, root);
            self.keep(checkpoint)?;
        }
        Ok(self.newest.clone())
    }

    /// Moves an unfinished line to `torn/` and records that. Each step can be the last before a crash: the copy is durable
    /// before the line is cut, and a copy without a record gets one when the log is next opened.
    pub(super) fn repair(&mut self, torn: Option<u64>) -> Result<(), Error> {
        if torn.is_some() {
            self.move_tail()?;
        }
        let mut drafts = Vec::new();
        for name in files::names(&self.layout.torn())? {
            // A copy is named by the sequence number of its record: a smaller one than the log's size is recorded already.
            let seq = name.split_once('-').and_then(|(seq, _)| seq.parse::<u64>().ok());
            if seq.is_some_and(|seq| seq >= self.tree.size()) {
                let path = self.layout.torn().join(&name);
                let (length, sha256) = measure(&path).map_err(Error::io("read", &path))?;
                drafts.push(Record::AuditTornTail { file: name, length, sha256 }.into());
            }
        }
        if drafts.is_empty() { Ok(()) } else { self.append_own(&drafts) }
    }

    fn move_tail(&mut self) -> Result<(), Error> {
        let time = (self.clock)().strftime("%Y%m%dT%H%M%S%3fZ");
        let path = self.layout.torn().join(format!("{:020}-{time}", self.tree.size()));
        let segment = self.layout.segment(self.segment.first);
        let copy = || -> io::Result<()> {
            let mut from = files::open(&segment, OFlags::RDONLY)?;
            from.seek(SeekFrom::Start(self.segment.len))?;
            let mut to = files::create_new(&path, OFlags::WRONLY)?;
            io::copy(&mut from, &mut to)?;
            to.flush()?;
            to.sync_all()?;
            files::sync_dir(&self.layout.torn())?;
            self.segment.file.set_len(self.segment.len)?;
            self.segment.file.sync_all()
        };
        copy().map_err(Error::io("move a torn tail to", &path))
    }

    /// The record of a clock that was set back, so that nobody takes the times of records for their order.
    fn clock_jump(&self, now: Timestamp) -> Option<Record> {
        let last = self.time.filter(|last| last.duration_since(now) > CLOCK_TOLERANCE)?;
        Some(Record::ClockJump { from: format_time(last), to: format_time(now) })
    }

    /// Writes a batch, in as many segments as it takes.
    fn write_segments(&mut self, batch: &[Prepared], now: Timestamp) -> Result<(), Error> {
        let mut rest = batch;
        while !rest.is_empty() {
            if self.room() == 0 {
                self.roll()?;
            }
            let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
            let (fitting, later) = rest.split_at(rest.len().min(room));
            self.write(fitting, now)?;
            rest = later;
        }
        Ok(())
    }

    /// Closes the segment with a checkpoint and begins the next.
    fn roll(&mut self) -> Result<(), Error> {
        self.sign()?;
        state::write_cache(&self.layout, &self.tree)?;
        self.segment = Segment::begin(&self.layout, self.tree.size())?;
        self.base = self.tree.clone();
        self.leaves.clear();
        Ok(())
    }

    /// Writes records that fit the segment, all or none.
    fn write(&mut self, batch: &[Prepared], now: Timestamp) -> Result<(), Error> {
        let time = format_time(now);
        let mut lines = Vec::with_capacity(batch.len() * 512);
        let mut leaves = Vec::with_capacity(batch.len());
        let (mut last, mut seq) = (self.last, self.tree.size());
        for prepared in batch {
            let start = lines.len();
            prepared.render(&mut lines, &Place { actor: &self.actor, epoch: 0, prev: &encode(&last), seq }, &time);
            last = merkle::leaf(&lines[start..]);
            lines.push(b'\n');
            leaves.push(last);
            seq += 1;
        }
        self.write_once(&lines)?;
        for leaf in &leaves {
            self.tree.push(*leaf);
        }
        self.leaves.append(&mut leaves);
        (self.last, self.time) = (last, Some(now));
        Ok(())
    }

    /// One `write(2)`, so that a crash leaves a prefix. A short write means a full disk and is undone.
    fn write_once(&mut self, lines: &[u8]) -> Result<(), Error> {
        let source = loop {
            match self.segment.file.write(lines) {
                Ok(written) if written == lines.len() => {
                    self.segment.len += lines.len() as u64;
                    return Ok(());
                }
                Ok(_) => break io::Error::from(io::ErrorKind::StorageFull),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        self.poisoned = self.segment.file.set_len(self.segment.len).is_err();
        Err(Error::Io { action: "append to", path: self.layout.segment(self.segment.first), source })
    }

    /// Makes the records durable. It is never tried again after a failure: the kernel marks the lost pages clean, and a
    /// second `fdatasync` would succeed without having written them.
    fn sync(&mut self) -> Result<(), Error> {
        self.segment.file.sync_data().map_err(|source| {
            self.poisoned = true;
            Error::Io { action: "flush", path: self.layout.segment(self.segment.first), source }
        })
    }
}

fn measure(path: &Path) -> io::Result<(u64, String)> {
    let mut file: File = files::open(path, OFlags::RDONLY)?;
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        length += read as u64;
    }
    Ok((length, format!("{:x}", hash.finalize())))
}

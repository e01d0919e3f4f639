//! Appending and signing: what a writer does under the exclusive lock.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::checkpoint::{self, Checkpoint};
use super::record::{Place, Prepared, encode, format_time};
use super::state::{self, Segment, State};
use super::{Durability, Entry, Error, Severity, files, merkle};

/// A clock that goes back by less is being adjusted, not set.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

impl State {
    /// Appends a batch and tells its sequence numbers. It is complete or absent after an error, unless it spans two
    /// segments: then its first part may be there.
    pub(super) fn append(&mut self, batch: &[Prepared<'_>], durability: Durability) -> Result<Range<u64>, Error> {
        let now = (self.clock)();
        if let Some(jump) = self.clock_jump(now) {
            let jump = Prepared::new(&jump, &self.actor)?;
            self.write_segments(&[jump], now)?;
        }
        let first = self.tree.size();
        self.write_segments(batch, now)?;
        if durability == Durability::Synced {
            self.sync()?;
        }
        self.restamp()?;
        Ok(first..self.tree.size())
    }

    /// Appends records of the log's own.
    pub(super) fn append_own(&mut self, entries: &[Entry]) -> Result<(), Error> {
        let actor = self.actor.clone();
        let batch = entries.iter().map(|entry| Prepared::new(entry, &actor)).collect::<Result<Vec<_>, _>>()?;
        self.append(&batch, Durability::Synced).map(drop)
    }

    /// Signs the tree as it is; the same size is signed once.
    pub(super) fn sign(&mut self) -> Result<Checkpoint, Error> {
        let size = self.tree.size();
        if self.newest.size < size {
            // Always: another process may have appended without flushing. A signature is for what is on the disk.
            self.sync()?;
            // A log must not sign what contradicts an earlier signature, whatever happened to this memory.
            let root = self.prove()?;
            let checkpoint = Checkpoint::sign(&self.signer, size, root);
            checkpoint::store(&self.layout, &checkpoint, self.signer.verifier())?;
            self.newest = checkpoint;
            self.restamp()?;
        }
        Ok(self.newest.clone())
    }

    /// Moves an unfinished line aside and records that. Each step can be the last before a crash: the copy is durable
    /// before the line is cut, and a copy without a record gets one when the log is next opened.
    pub(super) fn repair(&mut self, torn: Option<u64>) -> Result<(), Error> {
        if torn.is_some() {
            self.move_tail()?;
        }
        let mut entries = Vec::new();
        for name in files::names(&self.layout.torn())? {
            // A copy is named by the sequence number that its record gets, so later records say that it has one.
            let seq = name.split_once('-').and_then(|(seq, _)| seq.parse::<u64>().ok());
            if seq.is_some_and(|seq| seq >= self.tree.size()) {
                let path = self.layout.torn().join(&name);
                let (length, sha256) = measure(&path).map_err(Error::io("read", &path))?;
                let entry = Entry::new("audit.torn_tail", Severity::Warning);
                entries.push(entry.with("file", name).with("length", length).with("sha256", sha256));
            }
        }
        if entries.is_empty() { Ok(()) } else { self.append_own(&entries) }
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

    /// Says that the clock was set back, so that nobody takes the times of records for their order.
    fn clock_jump(&self, now: Timestamp) -> Option<Entry> {
        let last = self.time.filter(|last| last.duration_since(now) > CLOCK_TOLERANCE)?;
        let entry = Entry::new("clock.jump", Severity::Warning);
        Some(entry.with("from", format_time(last)).with("to", format_time(now)))
    }

    /// Writes a batch, in as many segments as it takes.
    fn write_segments(&mut self, batch: &[Prepared<'_>], now: Timestamp) -> Result<(), Error> {
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
    fn write(&mut self, batch: &[Prepared<'_>], now: Timestamp) -> Result<(), Error> {
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

    /// One `write(2)`, so that a crash leaves a prefix. A short one is undone: the disk is full.
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

    /// Makes the records durable. After a failure the kernel calls the lost pages clean, so that a second attempt
    /// would succeed without having written anything: never again with this state.
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

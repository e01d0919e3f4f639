//! What a writer knows of the log: enough to append and sign without reading it again.
//!
//! Before each append, one `stat` of the segment shows whether another process wrote since. Then only the new lines are
//! read, and they must continue what this state has read. Checkpoints of others are looked at before this process signs.

use std::fs::File;
use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustix::fs::OFlags;

use super::checkpoint::{self, Checkpoint};
use super::files::{self, Layout, Stamp};
use super::merkle::Frontier;
use super::note::Signer;
use super::record::{Actor, LineError, encode};
use super::segment::{self, Line, Lines};
use super::{At, Error, Hash, LogEntry, Problem, aside, identity};

/// Where the time of records comes from.
pub(super) type Clock = fn() -> Timestamp;

/// The log on the disk, as of `stamp` and `signatures`. It is used only under the exclusive lock.
pub(super) struct State {
    pub(super) layout: Layout,
    pub(super) clock: Clock,
    pub(super) signer: Signer,
    /// The canonical form of this process.
    pub(super) actor: Vec<u8>,
    /// The newest signed checkpoint. It is never older than the start of the last segment.
    pub(super) newest: Checkpoint,
    /// The tree at the start of the last segment.
    pub(super) base: Frontier,
    /// The leaves since then. With `base` they give the root of every later size.
    pub(super) leaves: Vec<Hash>,
    /// The tree of all records.
    pub(super) tree: Frontier,
    /// The leaf of the last record.
    pub(super) last: Hash,
    /// The time of the last record.
    pub(super) time: Option<Timestamp>,
    pub(super) segment: Segment,
    /// The segment as this writer left it.
    stamp: Option<Stamp>,
    /// The checkpoints as this writer left them.
    signatures: Signatures,
    /// A write could be neither completed nor undone: see [`Error::Poisoned`].
    pub(super) poisoned: bool,
}

/// The last segment.
pub(super) struct Segment {
    /// Its first sequence number.
    pub(super) first: u64,
    /// Open for appending.
    pub(super) file: File,
    /// The length of its whole lines.
    pub(super) len: u64,
}

/// The file `checkpoint` and the folder `ckpt`. When one of them changed, somebody else signed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Signatures {
    checkpoint: Option<Stamp>,
    folder: Option<Stamp>,
}

impl Signatures {
    fn of(layout: &Layout) -> Result<Self, Error> {
        Ok(Self { checkpoint: Stamp::of(&layout.checkpoint())?, folder: Stamp::of(&layout.checkpoints())? })
    }
}

/// A size of the log, and the root of its records then.
pub(super) struct Reached {
    size: u64,
    root: Hash,
    /// The public key, which a log has from its first record on.
    key: String,
}

impl State {
    /// Reads the last segment, proves that it continues what was signed, and repairs what a crash left. Creates the log
    /// where there is none.
    pub(super) fn load(layout: &Layout, clock: Clock) -> Result<Self, Error> {
        aside::resume(layout)?;
        layout.create()?;
        let signer = identity::load_or_create(layout)?;
        let newest = checkpoint::newest(layout, signer.verifier())?;
        let segment = Segment::open(layout, &newest)?;
        if newest.size < segment.first {
            // A writer signs a full segment before it begins the next.
            return Err(Problem::MissingCheckpoint { size: segment.first }.into());
        }
        let (base, last, cached) = base(layout, segment.first)?;
        let mut state = Self {
            layout: layout.clone(),
            clock,
            signer,
            actor: Actor::current().render(),
            newest,
            tree: base.clone(),
            base,
            leaves: Vec::new(),
            last,
            time: None,
            stamp: None,
            signatures: Signatures::of(layout)?,
            segment,
            poisoned: false,
        };
        let mut torn = state.scan(state.newest.size)?;
        if cached && state.prove().is_err() {
            // The cache is not signed. The log is damaged only if the records themselves do not fit.
            (state.base, state.last) = rebuild(layout, state.segment.first)?;
            (state.tree, state.leaves, state.segment.len) = (state.base.clone(), Vec::new(), 0);
            torn = state.scan(state.newest.size)?;
        }
        state.prove()?;
        checkpoint::publish(layout, &state.newest, state.signer.verifier())?;
        state.signatures = Signatures::of(layout)?;
        state.repair(torn)?;
        state.restamp()?;
        state.record_acceptance()?;
        Ok(state)
    }

    /// Takes over what other writers appended. `false` if everything must be read again.
    ///
    /// As long as the segment only grew, only its new records are read. They must continue the chain, and new checkpoints
    /// must cover all of it.
    pub(super) fn refresh(&mut self) -> Result<bool, Error> {
        let now = Stamp::of(&self.layout.segment(self.segment.first))?;
        if now == self.stamp {
            return Ok(!self.is_behind()?);
        }
        let (Some(old), Some(new)) = (self.stamp, now) else { return Ok(false) };
        if !new.grew_from(&old) {
            return Ok(false);
        }
        self.read_newest()?;
        let torn = self.scan(self.tree.size())?;
        if self.is_behind()? {
            return Ok(false);
        }
        self.prove()?;
        self.publish()?;
        if torn.is_some() {
            self.repair(torn)?;
        }
        self.restamp()?;
        Ok(true)
    }

    /// Whether another writer filled the segment and began the next.
    fn is_behind(&self) -> Result<bool, Error> {
        let next = self.segment.first + self.layout.capacity;
        Ok(self.room() == 0 && Stamp::of(&self.layout.segment(next))?.is_some())
    }

    /// Takes over a checkpoint that another writer signed. `true` if there is one: the caller must prove it.
    pub(super) fn read_newest(&mut self) -> Result<bool, Error> {
        let now = Signatures::of(&self.layout)?;
        if now == self.signatures {
            return Ok(false);
        }
        let newest = checkpoint::newest(&self.layout, self.signer.verifier())?;
        if newest.size < self.newest.size {
            return Err(Problem::MissingCheckpoint { size: self.newest.size }.into());
        }
        (self.newest, self.signatures) = (newest, now);
        Ok(true)
    }

    /// Completes the newest checkpoint where its writer died between its two files.
    pub(super) fn publish(&mut self) -> Result<(), Error> {
        checkpoint::publish(&self.layout, &self.newest, self.signer.verifier())?;
        self.signatures = Signatures::of(&self.layout)?;
        Ok(())
    }

    /// Keeps a checkpoint of our own.
    pub(super) fn keep(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        checkpoint::store(&self.layout, &checkpoint, self.signer.verifier())?;
        (self.newest, self.signatures) = (checkpoint, Signatures::of(&self.layout)?);
        Ok(())
    }

    /// Remembers the segment as it is now, after a change of our own.
    pub(super) fn restamp(&mut self) -> Result<(), Error> {
        let path = || self.layout.segment(self.segment.first);
        let now = self.segment.file.metadata().map_err(|e| Error::io("look at", &path())(e))?;
        self.stamp = Some(Stamp::from(&now));
        Ok(())
    }

    /// How many records the segment still takes.
    pub(super) fn room(&self) -> u64 {
        (self.segment.first + self.layout.capacity).saturating_sub(self.tree.size())
    }

    /// Proves that the records continue what the newest checkpoint covers: both roots come from one pass over the same
    /// leaves. Returns the root of all records.
    pub(super) fn prove(&self) -> Result<Hash, Problem> {
        let (signed, found) = (self.newest.size, self.tree.size());
        let count = signed.checked_sub(self.base.size()).and_then(|count| usize::try_from(count).ok());
        let Some((before, after)) = count.and_then(|count| self.leaves.split_at_checked(count)) else {
            return Err(Problem::Truncated { signed, found });
        };
        let mut tree = self.base.clone();
        for leaf in before {
            tree.push(*leaf);
        }
        if tree.root() != self.newest.root {
            return Err(Problem::RootMismatch { size: signed, last_good: 0 });
        }
        for leaf in after {
            tree.push(*leaf);
        }
        if tree == self.tree { Ok(tree.root()) } else { Err(Problem::RootMismatch { size: found, last_good: signed }) }
    }

    /// How far the log reaches.
    pub(super) fn reached(&self) -> Reached {
        Reached { size: self.tree.size(), root: self.tree.root(), key: self.signer.verifier().to_string() }
    }

    /// Fails if the log does not continue what it once was. Full segments are signed, so only the last one is looked at.
    pub(super) fn continues(&self, before: &Reached) -> Result<(), Problem> {
        let set_back = Problem::SetBack { known: before.size, found: self.tree.size() };
        if self.signer.verifier().to_string() != before.key {
            return Err(set_back);
        }
        let Some(count) = before.size.checked_sub(self.base.size()) else { return Ok(()) };
        let leaves = usize::try_from(count).ok().and_then(|count| self.leaves.get(..count));
        let mut tree = self.base.clone();
        leaves.into_iter().flatten().for_each(|leaf| tree.push(*leaf));
        if leaves.is_some() && tree.root() == before.root {
            return Ok(());
        }
        Err(set_back)
    }

    /// Adds the whole lines after `segment.len` to the tree and returns the length of an unfinished one. Lines before
    /// `strict` are only hashed: a signature covers them.
    fn scan(&mut self, strict: u64) -> Result<Option<u64>, Error> {
        let path = self.layout.segment(self.segment.first);
        let mut lines = Lines::open(&path, self.segment.len)?;
        loop {
            let seq = self.tree.size();
            let line = match lines.next().map_err(Error::io("read", &path))? {
                None => return Ok(None),
                Some(Line::Torn(bytes)) => return Ok(Some(bytes)),
                Some(Line::Long) => return Err(self.bad(seq, "longer than 65535 bytes").into()),
                Some(Line::Whole(line)) => line,
            };
            if self.room() == 0 {
                let (expected, found) = (self.layout.capacity, self.layout.capacity + 1);
                let segment = files::segment_name(self.segment.first);
                return Err(Problem::SegmentLength { segment, expected, found }.into());
            }
            if seq + 1 >= strict {
                // The last record is among these: the next one must not be earlier.
                let record = self.check(seq, line, seq >= strict)?;
                self.time = record.as_ref().and_then(LogEntry::timestamp).or(self.time);
            }
            let leaf = Line::Whole(line).leaf();
            self.segment.len += line.len() as u64 + 1;
            self.leaves.push(leaf);
            self.tree.push(leaf);
            self.last = leaf;
        }
    }

    /// Reads a record. One that no signature covers must continue the chain.
    fn check(&self, seq: u64, line: &[u8], strict: bool) -> Result<Option<LogEntry>, Problem> {
        let record = match LogEntry::parse(line) {
            Ok(record) => record,
            Err(_) if !strict => return Ok(None),
            Err(LineError::Malformed(reason)) => return Err(self.bad(seq, &reason)),
            Err(LineError::NotCanonical) => return Err(Problem::NotCanonical { seq, at: self.at(seq) }),
        };
        if strict && record.seq != seq {
            return Err(Problem::WrongSequence { expected: seq, found: record.seq, at: self.at(seq) });
        }
        if strict && record.prev != encode(&self.last) {
            return Err(Problem::BrokenChain { first: seq.saturating_sub(1), last: seq, at: self.at(seq) });
        }
        Ok(Some(record))
    }

    fn bad(&self, seq: u64, reason: &str) -> Problem {
        Problem::BadRecord { seq, at: self.at(seq), reason: reason.to_owned() }
    }

    fn at(&self, seq: u64) -> At {
        At { segment: files::segment_name(self.segment.first), line: seq - self.segment.first + 1 }
    }
}

impl Segment {
    /// Opens the last segment, or begins the first.
    fn open(layout: &Layout, newest: &Checkpoint) -> Result<Self, Error> {
        match segment::active(layout)? {
            Some(first) => {
                let path = layout.segment(first);
                let file = files::open(&path, OFlags::WRONLY | OFlags::APPEND).map_err(Error::io("open", &path))?;
                Ok(Self { first, file, len: 0 })
            }
            None if newest.size > 0 => Err(Problem::Truncated { signed: newest.size, found: 0 }.into()),
            None => Self::begin(layout, 0),
        }
    }

    /// Creates an empty segment, durably.
    pub(super) fn begin(layout: &Layout, first: u64) -> Result<Self, Error> {
        let path = layout.segment(first);
        let create = || -> io::Result<File> {
            let file = files::create_new(&path, OFlags::WRONLY | OFlags::APPEND)?;
            file.sync_all()?;
            files::sync_dir(&layout.segments())?;
            Ok(file)
        };
        Ok(Self { first, file: create().map_err(Error::io("create", &path))?, len: 0 })
    }
}

/// The tree and the last leaf before a segment, and whether the tree comes from the cache.
fn base(layout: &Layout, first: u64) -> Result<(Frontier, Hash, bool), Error> {
    if first == 0 {
        return Ok((Frontier::default(), [0; 32], false));
    }
    match read_cache(layout)?.filter(|tree| tree.size() == first) {
        Some(tree) => Ok((tree, segment::last_leaf(layout, first - layout.capacity)?, true)),
        None => rebuild(layout, first).map(|(tree, last)| (tree, last, false)),
    }
}

/// Hashes all segments before this one.
fn rebuild(layout: &Layout, first: u64) -> Result<(Frontier, Hash), Error> {
    let (mut tree, mut last) = (Frontier::default(), [0; 32]);
    for start in segment::list(layout)?.into_iter().take_while(|start| *start < first) {
        let path = layout.segment(start);
        let mut lines = Lines::open(&path, 0)?;
        while let Some(line) = lines.next().map_err(Error::io("read", &path))? {
            last = line.leaf();
            tree.push(last);
        }
        let (expected, found) = (layout.capacity, tree.size() - start);
        if expected != found {
            return Err(Problem::SegmentLength { segment: files::segment_name(start), expected, found }.into());
        }
    }
    write_cache(layout, &tree)?;
    Ok((tree, last))
}

const CACHE_HEADER: &str = "timelocker audit tree v1";

/// Writes the tree at the start of the last segment, so that opening reads that segment only.
pub(super) fn write_cache(layout: &Layout, tree: &Frontier) -> Result<(), Error> {
    let mut text = format!("{CACHE_HEADER}\n{}\n", tree.size());
    for peak in tree.peaks() {
        STANDARD.encode_string(peak, &mut text);
        text.push('\n');
    }
    files::replace(&layout.tree(), text.as_bytes())
}

/// Reads the cache. Anything strange counts as no cache.
fn read_cache(layout: &Layout) -> Result<Option<Frontier>, Error> {
    let parse = |text: String| {
        let mut lines = text.lines();
        let size = lines.next().filter(|header| *header == CACHE_HEADER).and_then(|_| lines.next())?.parse().ok()?;
        let peaks = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok()).collect::<Option<Vec<Hash>>>()?;
        Frontier::from_parts(size, peaks)
    };
    Ok(files::read_text(&layout.tree())?.and_then(parse))
}

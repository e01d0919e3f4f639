use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rustix::fs::OFlags;

use super::files::{self, Layout};
use super::{Error, Filter, LogEntry, segment};

/// Reads the entries of a log from the newest one back, block by block and without a lock. It ends at the first entry that
/// is older than the filter's `since`, so that a search costs what is new and not what the log holds. Where the clock was
/// set back that may be too early: allow for it in `since`.
///
/// Lines that are no entries are skipped: `tl audit verify` reports them.
pub fn read_backwards(dir: &Path, filter: Filter) -> Result<Backwards, Error> {
    Backwards::open(Layout::new(dir), filter)
}

/// The entries that a filter accepts, newest first.
pub struct Backwards {
    layout: Layout,
    filter: Filter,
    /// The segments that were not read yet, oldest first.
    waiting: Vec<u64>,
    current: Option<Tail>,
}

impl Backwards {
    pub(super) fn open(layout: Layout, filter: Filter) -> Result<Self, Error> {
        if !layout.segments().is_dir() {
            return Err(Error::Missing(layout.dir().to_owned()));
        }
        let waiting = segment::list(&layout)?;
        Ok(Self { layout, filter, waiting, current: None })
    }

    fn step(&mut self) -> Result<Option<LogEntry>, Error> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(first) = self.waiting.pop() else { return Ok(None) };
                let path = self.layout.segment(first);
                self.current = Some(Tail::open(&path).map_err(Error::io("read", &path))?);
                continue;
            };
            let line = match current.line() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.current = None;
                    continue;
                }
                Err(source) => {
                    self.stop();
                    return Err(Error::Io { action: "read", path: self.layout.segments(), source });
                }
            };
            let Ok(entry) = LogEntry::parse(&line) else { continue };
            if self.filter.since.zip(entry.timestamp()).is_some_and(|(since, time)| time < since) {
                self.stop();
                return Ok(None);
            }
            if self.filter.accepts(&entry) {
                return Ok(Some(entry));
            }
        }
    }

    fn stop(&mut self) {
        self.waiting.clear();
        self.current = None;
    }
}

impl Iterator for Backwards {
    type Item = Result<LogEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

const BLOCK: u64 = 1 << 16;

/// The whole lines of a file, the last one first.
struct Tail {
    file: File,
    /// Where `read` begins in the file.
    start: u64,
    /// Bytes that were read and not given yet. They end with a newline, unless nothing is left.
    read: Vec<u8>,
}

impl Tail {
    fn open(path: &Path) -> io::Result<Self> {
        let file = files::open(path, OFlags::RDONLY)?;
        let start = file.metadata()?.len();
        let mut tail = Self { file, start, read: Vec::new() };
        // Bytes after the last newline are a line that is being written, or that a crash left unfinished.
        while !tail.read.contains(&b'\n') && tail.start > 0 {
            tail.read_block()?;
        }
        let end = tail.read.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        tail.read.truncate(end);
        Ok(tail)
    }

    /// The line before those that were given, without its newline.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.read.is_empty() && self.start == 0 {
            return Ok(None);
        }
        loop {
            let content = self.read.len().saturating_sub(1);
            match self.read[..content].iter().rposition(|b| *b == b'\n') {
                Some(at) => {
                    let mut line = self.read.split_off(at + 1);
                    line.pop();
                    return Ok(Some(line));
                }
                None if self.start == 0 => {
                    let mut line = std::mem::take(&mut self.read);
                    return Ok(line.pop().map(|_newline| line));
                }
                None => self.read_block()?,
            }
        }
    }

    /// Reads the block before `start`.
    fn read_block(&mut self) -> io::Result<()> {
        let length = self.start.min(BLOCK);
        let mut block = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.seek(SeekFrom::Start(self.start - length))?;
        self.file.read_exact(&mut block)?;
        block.append(&mut self.read);
        (self.read, self.start) = (block, self.start - length);
        Ok(())
    }
}

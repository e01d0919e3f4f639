//! Segment files and their lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use rustix::fs::OFlags;

use super::files::{self, Layout};
use super::record::MAX_LINE;
use super::{At, Error, Hash, Problem, merkle};

/// The first sequence numbers of the segments, ascending. Files with other names are not segments.
pub(super) fn list(layout: &Layout) -> Result<Vec<u64>, Error> {
    let names = files::names(&layout.segments())?;
    let numbers = names.iter().filter_map(|name| files::number(name, ".jsonl"));
    Ok(numbers.filter(|first| first.is_multiple_of(layout.capacity)).collect())
}

/// The last segment. Fails where one before it is missing.
pub(super) fn active(layout: &Layout) -> Result<Option<u64>, Error> {
    let mut expected = 0;
    for first in list(layout)? {
        if first != expected {
            return Err(Problem::MissingSegment { first: expected }.into());
        }
        expected += layout.capacity;
    }
    Ok(expected.checked_sub(layout.capacity))
}

/// One line of a segment.
pub(super) enum Line<'a> {
    /// Without its newline.
    Whole(&'a [u8]),
    /// Longer than a record can be.
    Long,
    /// Bytes after the last newline: how many.
    Torn(u64),
}

impl Line<'_> {
    /// The leaf hash. Lines that cannot be records have one that fits nothing.
    pub(super) fn leaf(&self) -> Hash {
        match self {
            Self::Whole(line) => merkle::leaf(line),
            Self::Long | Self::Torn(_) => [0; 32],
        }
    }
}

/// The lines of a segment, in constant memory.
pub(super) struct Lines {
    reader: BufReader<File>,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens a segment at an offset.
    pub(super) fn open(path: &Path, offset: u64) -> Result<Self, Error> {
        let open = || {
            let mut file = files::open(path, OFlags::RDONLY)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        let file = open().map_err(Error::io("read", path))?;
        Ok(Self { reader: BufReader::with_capacity(1 << 17, file), buffer: Vec::new() })
    }

    /// The next line. `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let limit = MAX_LINE as u64 + 1;
        let length = (&mut self.reader).take(limit).read_until(b'\n', &mut self.buffer)? as u64;
        if length == 0 {
            return Ok(None);
        }
        if self.buffer.last() == Some(&b'\n') {
            return Ok(Some(Line::Whole(&self.buffer[..self.buffer.len() - 1])));
        }
        if length < limit {
            return Ok(Some(Line::Torn(length)));
        }
        let mut rest = Vec::new();
        let mut more = length;
        loop {
            rest.clear();
            let read = (&mut self.reader).take(1 << 16).read_until(b'\n', &mut rest)? as u64;
            more += read;
            if rest.last() == Some(&b'\n') {
                return Ok(Some(Line::Long));
            }
            if read == 0 {
                return Ok(Some(Line::Torn(more)));
            }
        }
    }
}

/// The leaf hash of the last record of a full segment, without reading the others.
pub(super) fn last_leaf(layout: &Layout, first: u64) -> Result<Hash, Error> {
    let path = layout.segment(first);
    let read = || {
        let mut file = files::open(&path, OFlags::RDONLY)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_LINE as u64 + 2)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    };
    let end = read().map_err(Error::io("read", &path))?;
    let lines = end.strip_suffix(b"\n").ok_or_else(|| {
        let at = At { segment: files::segment_name(first), line: layout.capacity };
        let reason = "the line has no end".to_owned();
        Problem::BadRecord { seq: first + layout.capacity - 1, at, reason }
    })?;
    Ok(merkle::leaf(lines.rsplit(|b| *b == b'\n').next().unwrap_or(lines)))
}

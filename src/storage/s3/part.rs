use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::checksum::{Algorithm, Sum};
use super::connection::runtime;
use super::fault::{Class, Fault};
use super::settings::LARGEST_PART;
use crate::storage::{Body, Error};
use crate::value::Digest;

const MIB: u64 = 1 << 20;
/// The memory for the parts of all uploads of the process, in MiB.
const BUDGET: usize = 24;
/// Larger parts are kept in a file.
const LARGEST_IN_MEMORY: u64 = 16 * MIB;
/// No object of S3 has more parts.
const MOST: u64 = 10_000;
/// Parts of an upload of unknown length double in size after this many: 10,000 of them then hold 10 TB.
const STEP: u64 = 850;
const BLOCK: usize = 256 * 1024;

/// The size of a part, by its number from 1 and the total length, where that is known.
pub(super) fn part_size(number: u64, total: Option<u64>, target: u64) -> u64 {
    match total {
        Some(total) => target.max(total.div_ceil(MOST).next_multiple_of(MIB)),
        None => target << ((number - 1) / STEP).min(20),
    }
    .min(LARGEST_PART)
}

/// Bytes that were read, kept so that they can be sent again.
#[derive(Clone)]
pub(super) struct Part {
    content: Content,
    pub(super) size: u64,
    /// The checksum, computed while reading.
    sum: Sum,
    /// Computed when a server wants or keeps MD5.
    md5: Arc<OnceLock<Sum>>,
}

#[derive(Clone)]
enum Content {
    Memory(Bytes),
    File(Arc<NamedTempFile>),
}

impl Part {
    /// A part that is already in memory.
    pub(super) fn of(bytes: Bytes, algorithm: Algorithm) -> Self {
        let mut running = algorithm.start();
        running.update(&bytes);
        let size = bytes.len() as u64;
        Self { content: Content::Memory(bytes), size, sum: running.finish(size), md5: Arc::default() }
    }

    pub(super) async fn stream(&self) -> Result<ByteStream, Fault> {
        match &self.content {
            Content::Memory(bytes) => Ok(ByteStream::from(bytes.clone())),
            Content::File(file) => ByteStream::from_path(file.path())
                .await
                .map_err(|error| Fault::new(Class::Wrong, format!("the part could not be read again: {error}"))),
        }
    }

    /// Its checksum by this algorithm: kept, or computed from the bytes.
    pub(super) fn sum(&self, algorithm: Algorithm) -> Result<Sum, Fault> {
        if self.sum.algorithm == algorithm {
            return Ok(self.sum.clone());
        }
        if let (Algorithm::Md5, Some(md5)) = (algorithm, self.md5.get()) {
            return Ok(md5.clone());
        }
        let mut running = algorithm.start();
        match &self.content {
            Content::Memory(bytes) => running.update(bytes),
            Content::File(file) => {
                let failed =
                    |error: io::Error| Fault::new(Class::Wrong, format!("the part could not be read again: {error}"));
                let mut file = File::open(file.path()).map_err(failed)?;
                let mut block = vec![0; BLOCK];
                loop {
                    match file.read(&mut block).map_err(failed)? {
                        0 => break,
                        read => running.update(&block[..read]),
                    }
                }
            }
        }
        let sum = running.finish(self.size);
        Ok(if algorithm == Algorithm::Md5 { self.md5.get_or_init(|| sum).clone() } else { sum })
    }

    /// Its MD5, if it was computed.
    pub(super) fn known_md5(&self) -> Option<&Sum> {
        if self.sum.algorithm == Algorithm::Md5 { Some(&self.sum) } else { self.md5.get() }
    }
}

/// Memory that returns to the pool when the last request that holds it ends.
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    /// Its share of the memory budget, returned on drop.
    _share: Option<SemaphorePermit<'static>>,
}

static SHARES: Semaphore = Semaphore::const_new(BUDGET);
/// Buffers to reuse: glibc does not return freed blocks of this size to the system, and fragments.
static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

impl Buffer {
    /// Waits until there is room for a part.
    fn for_part(size: u64, uri: &str) -> Result<Self, Error> {
        let shares = u32::try_from(size.div_ceil(MIB)).unwrap_or(u32::MAX).max(1);
        let share = runtime(uri)?
            .block_on(SHARES.acquire_many(shares))
            .map_err(|closed| Error::from_io(uri, io::Error::other(closed)))?;
        Ok(Self::with(size, Some(share)))
    }

    /// The bytes of an answer. Fails unless there are exactly as many as its head announces.
    pub(super) async fn collect(mut body: ByteStream, length: u64) -> Result<Bytes, Fault> {
        let cut = |error| Fault::new(Class::Transient, format!("the answer was cut: {error}"));
        let mut buffer = Self::with(length, None);
        while let Some(block) = body.next().await {
            let block = block.map_err(cut)?;
            buffer.bytes.extend_from_slice(&block);
            if buffer.bytes.len() as u64 > length {
                break;
            }
        }
        match buffer.bytes.len() {
            got if got as u64 == length => Ok(Bytes::from_owner(buffer)),
            got => Err(Fault::new(Class::Short, format!("the answer has {got} bytes where {length} were announced"))),
        }
    }

    fn with(size: u64, share: Option<SemaphorePermit<'static>>) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = free.iter().position(|bytes| bytes.capacity() >= size);
        let bytes = fitting.map_or_else(|| Vec::with_capacity(size), |at| free.swap_remove(at));
        Self { bytes, _share: share }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.iter().map(Vec::capacity).sum::<usize>() + bytes.capacity() <= BUDGET << 20 {
            free.push(bytes);
        }
    }
}

/// Cuts a body into parts.
pub(super) struct Parts<'b> {
    body: &'b mut dyn Body,
    scratch: &'b Path,
    uri: &'b str,
    /// The first byte of the next part.
    peeked: Option<u8>,
    hash: Sha256,
    size: u64,
}

impl<'b> Parts<'b> {
    pub(super) fn new(body: &'b mut dyn Body, scratch: &'b Path, uri: &'b str) -> Self {
        Self { body, scratch, uri, peeked: None, hash: Sha256::new(), size: 0 }
    }

    /// The length of the body, if known.
    pub(super) fn total(&self) -> Option<u64> {
        self.body.size()
    }

    /// Whether the whole body was read.
    pub(super) fn at_end(&mut self) -> Result<bool, Error> {
        if self.peeked.is_none() {
            let mut byte = [0];
            if self.read(&mut byte)? == 1 {
                self.peeked = Some(byte[0]);
            }
        }
        Ok(self.peeked.is_none())
    }

    /// Reads the next part: `size` bytes, or the rest.
    pub(super) fn next(&mut self, size: u64, algorithm: Algorithm) -> Result<Part, Error> {
        let (uri, scratch) = (self.uri, self.scratch);
        let size = self.body.size().map_or(size, |total| size.min(total.saturating_sub(self.size)).max(1));
        let mut running = algorithm.start();
        let (mut block, mut length) = (vec![0; BLOCK], 0);
        let mut fill_up = |sink: &mut dyn Write| -> Result<(), Error> {
            while length < size {
                let most = usize::try_from(size - length).unwrap_or(usize::MAX).min(BLOCK);
                let read = match self.peeked.take() {
                    Some(byte) => {
                        block[0] = byte;
                        1
                    }
                    None => self.read(&mut block[..most])?,
                };
                if read == 0 {
                    break;
                }
                running.update(&block[..read]);
                self.hash.update(&block[..read]);
                sink.write_all(&block[..read]).map_err(|error| Error::from_io(uri, error))?;
                length += read as u64;
            }
            Ok(())
        };
        let content = if size <= LARGEST_IN_MEMORY {
            let mut buffer = Buffer::for_part(size, uri)?;
            fill_up(&mut buffer.bytes)?;
            Content::Memory(Bytes::from_owner(buffer))
        } else {
            // `NamedTempFile` has mode 0600, and is removed on drop.
            let file = std::fs::create_dir_all(scratch).and_then(|()| NamedTempFile::new_in(scratch));
            let mut file = file.map_err(|error| Error::from_io(uri, error))?;
            fill_up(&mut file)?;
            Content::File(Arc::new(file))
        };
        self.size += length;
        Ok(Part { content, size: length, sum: running.finish(length), md5: Arc::default() })
    }

    /// The digest of what was read, if it equals the one that the source computed.
    pub(super) fn finish(self) -> Result<Digest, Error> {
        let read = Digest { sha256: self.hash.finalize().into(), size: self.size };
        // `None`: the source never declared its end, so the data may be incomplete.
        if self.body.digest() == Some(read) { Ok(read) } else { Err(Error::Altered { uri: self.uri.to_owned() }) }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.body.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|source| Error::Source { uri: self.uri.to_owned(), source }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::SMALLEST_PART;
    use super::*;

    #[test]
    fn ten_thousand_parts_of_unknown_length_hold_ten_terabytes() {
        let sizes: Vec<u64> = (1..=MOST).map(|number| part_size(number, None, 8 * MIB)).collect();
        assert!(sizes.iter().sum::<u64>() >= 10_000_000_000_000);
        assert!(sizes.iter().all(|size| (SMALLEST_PART..=LARGEST_PART).contains(size)));
        assert_eq!(sizes[..850], [8 * MIB; 850]);
    }

    #[test]
    fn a_known_length_never_needs_more_parts_than_there_may_be() {
        for total in [1, 100 * MIB, 1 << 40, 10_000 * LARGEST_PART] {
            let size = part_size(1, Some(total), 8 * MIB);
            assert!(total.div_ceil(size) <= MOST && size <= LARGEST_PART, "{total}");
        }
    }
}

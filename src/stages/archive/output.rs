use std::io::{BufWriter, Write};

use super::error::Error;

/// The size of a block of tar.
const BLOCK: u64 = 512;
/// Twenty blocks, the default record size of every tar. Tape drives and `dd` scripts expect it.
const RECORD: u64 = 20 * BLOCK;

static ZEROS: [u8; 4096] = [0; 4096];

/// Pads to the next block with zeros.
pub(super) fn fill_block(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// The stream of blocks. It counts its bytes.
pub(super) struct Output<'a> {
    /// Buffers headers and padding, which are small. Content bypasses the buffer.
    out: BufWriter<&'a mut dyn Write>,
    length: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out: BufWriter::with_capacity(64 << 10, out), length: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::Write)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn put_zeros(&mut self, mut count: u64) -> Result<(), Error> {
        while count > 0 {
            let part = usize::try_from(count).map_or(ZEROS.len(), |count| count.min(ZEROS.len()));
            self.put(&ZEROS[..part])?;
            count -= part as u64;
        }
        Ok(())
    }

    /// Pads to the next block with zeros.
    pub(super) fn end_block(&mut self) -> Result<(), Error> {
        self.put_zeros(self.length.next_multiple_of(BLOCK) - self.length)
    }

    /// Writes two zero blocks, pads to the next record, and flushes.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.put_zeros((self.length + 2 * BLOCK).next_multiple_of(RECORD) - self.length)?;
        self.out.flush().map_err(Error::Write)
    }
}

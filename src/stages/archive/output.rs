use std::io::{BufWriter, Write};

use super::error::Error;

/// The size of a block of tar.
const BLOCK: u64 = 512;
/// Twenty blocks, the record that every tar writes when not told otherwise: tape drives and `dd` scripts expect it.
const RECORD: u64 = 20 * BLOCK;

static ZEROS: [u8; 4096] = [0; 4096];

/// Adds zeros up to the next block.
pub(super) fn fill_block(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// The stream of blocks; knows how long it is.
pub(super) struct Output<'a> {
    /// Headers and padding are small; content passes the buffer by.
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

    /// Zeros up to the next block.
    pub(super) fn end_block(&mut self) -> Result<(), Error> {
        self.put_zeros(self.length.next_multiple_of(BLOCK) - self.length)
    }

    /// Two zero blocks, zeros up to the next record, and everything on its way.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.put_zeros((self.length + 2 * BLOCK).next_multiple_of(RECORD) - self.length)?;
        self.out.flush().map_err(Error::Write)
    }
}

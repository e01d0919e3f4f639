//! How stages read: they count the bytes and check for a cancel.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::Context;
use super::artifact::ArtifactReader;
use crate::diagnostic::Result;
use crate::storage::{Body, Error};
use crate::value::Digest;

/// An artifact reader that counts its bytes.
pub(super) struct Metered<'a> {
    pub(super) reader: ArtifactReader,
    pub(super) context: &'a Context,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.context.meter.add_bytes(read as u64);
        Ok(read)
    }
}

impl Body for Metered<'_> {
    fn digest(&self) -> Option<Digest> {
        self.reader.digest()
    }

    fn size(&self) -> Option<u64> {
        self.reader.size()
    }
}

/// Reads an object to its end, passes each block on, and returns the digest of what was read.
pub(super) fn read_object(
    context: &Context,
    uri: &str,
    object: &mut dyn Read,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Digest> {
    let mut block = vec![0; 256 * 1024];
    let (mut hash, mut size) = (Sha256::new(), 0);
    loop {
        context.cancel.check()?;
        let read = match object.read(&mut block) {
            Ok(0) => return Ok(Digest { sha256: hash.finalize().into(), size }),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                context.cancel.check()?;
                return Err(Error::from_io(uri, error).into());
            }
        };
        hash.update(&block[..read]);
        size += read as u64;
        context.meter.add_bytes(read as u64);
        each(&block[..read])?;
    }
}

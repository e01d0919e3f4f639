use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Error, Source};
use crate::value::{Cancel, FilePath, Secret};

/// A file that holds nothing but the secret. One line end after it does not count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// The file.
    path: FilePath,
}

/// A secret is a key or a password, not a document.
pub(super) const LARGEST: usize = 64 * 1024;

/// Opens a regular file without blocking: a FIFO that nobody writes to must not hold up the start of a run.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

impl Source for SecretFile {
    fn place(&self) -> String {
        format!("the file `{}`", self.path.as_path().display())
    }

    fn read(&self, _: &Path, _: &Cancel) -> Result<Secret, Error> {
        read_file(self.path.as_path(), self.place())
    }
}

/// Reads a secret from a file.
pub(super) fn read_file(path: &Path, place: String) -> Result<Secret, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    match open_file(path).and_then(|file| file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)) {
        Ok(_) => text_of(&bytes, place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Missing { place }),
        Err(source) => Err(Error::Io { place, source }),
    }
}

/// The secret in these bytes, without one line end at its end.
pub(super) fn text_of(bytes: &[u8], place: String) -> Result<Secret, Error> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(Error::NotText { place }) };
    if bytes.len() > LARGEST {
        return Err(Error::NotText { place });
    }
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text {
        // Blanks are the mistake of whoever wrote the file, and as a secret they would mask every indented line.
        blank if blank.trim().is_empty() => Err(Error::Empty { place }),
        text if text.contains('\0') => Err(Error::Nul { place }),
        text => Ok(Secret::new(text.to_owned())),
    }
}

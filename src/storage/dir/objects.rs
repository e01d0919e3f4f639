use std::fs::File;
use std::io::{self, Read, Write as _};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{self, AtFlags, FileType, FlockOperation};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Deserialize;

use super::folder::{DIGEST_SUFFIX, Partial, remove_abandoned, remove_digest, sync_folder};
use super::list::list;
use super::thread::{FileReader, on_own_thread};
use crate::storage::error::with_causes;
use crate::storage::{
    Check, CheckResult, Checksums, Cursor, ETag, Error, LARGEST_READ, ObjectId, Objects, Page, Precondition, Removed,
    Stat,
};
use crate::value::{Cancel, FilePath, ObjectKey, hex, parse_sha256};

/// A directory: each object a file, with its digest beside it in a file that `sha256sum -c` reads.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Dir {
    /// The directory. It must be there: a disk that is not mounted must not become a folder on the root disk.
    pub(super) path: FilePath,
    /// Make the directory, and those above it, when it is missing.
    #[serde(default)]
    pub(super) create: bool,
    /// Whether the directory must be the root of a mounted file system. Otherwise a folder that only marks where a disk belongs takes
    /// the objects.
    #[serde(default)]
    pub(super) require_mount: bool,
}

impl Objects for Dir {
    fn uri(&self, key: &ObjectKey) -> String {
        self.path.as_path().join(key.as_str()).display().to_string()
    }

    fn has_locks(&self) -> bool {
        false
    }

    fn local_folder(&self) -> Option<&Path> {
        Some(self.path.as_path())
    }

    fn stat(&self, object: &ObjectId, cancel: &Cancel) -> Result<Option<Stat>, Error> {
        self.call(&object.key, cancel, |dir, key, _| dir.stat_file(key))
    }

    fn read(&self, object: &ObjectId, range: Range<u64>, cancel: &Cancel) -> Result<Bytes, Error> {
        self.call(&object.key, cancel, |dir, key, _| dir.read_range(key, range))
    }

    fn open(&self, object: &ObjectId, cancel: &Cancel) -> Result<Box<dyn Read + Send>, Error> {
        let file = self.call(&object.key, cancel, |dir, key, _| {
            let file = dir.open_file(key, "")?.ok_or_else(|| Error::NoObject { uri: dir.uri(key) })?;
            // What is read back should come from the disk. Only a hint: pages that are still dirty stay.
            let _advice = fs::fadvise(&file, 0, None, fs::Advice::DontNeed);
            Ok(file)
        })?;
        Ok(Box::new(FileReader::new(self.uri(&object.key), file, cancel)?))
    }

    fn write(&self, key: &ObjectKey, bytes: &[u8], when: &Precondition, cancel: &Cancel) -> Result<ObjectId, Error> {
        let (bytes, when) = (bytes.to_vec(), when.clone());
        self.call(key, cancel, move |dir, key, abandoned| dir.write_file(key, &bytes, &when, abandoned))
    }

    fn list(&self, prefix: &str, after: Option<&Cursor>, cancel: &Cancel) -> Result<Page, Error> {
        let (dir, prefix, after) = (self.clone(), prefix.to_owned(), after.cloned());
        on_own_thread(&self.name(), cancel, move |abandoned| list(&dir, &prefix, after.as_ref(), abandoned))
    }

    fn remove(&self, object: &ObjectId, cancel: &Cancel) -> Result<Removed, Error> {
        self.call(&object.key, cancel, Self::remove_file)
    }

    fn probe(&self) -> Vec<Check> {
        let check = |what, result: Result<String, Error>| match result {
            Ok(detail) => Check { what, result: CheckResult::Yes, detail },
            Err(error) => Check { what, result: CheckResult::Failed, detail: with_causes(&error) },
        };
        if self.create && !self.path.as_path().exists() {
            let detail = "it is missing; the first upload makes it".to_owned();
            return vec![Check { what: "reach", result: CheckResult::Unknown, detail }];
        }
        let root = self.root();
        let written = root.as_ref().ok().map(|root| {
            let tried = Partial::create(root).and_then(|mut partial| partial.file.write_all(b"tl doctor"));
            let is_written = tried.map(|()| "a file was made and removed".to_owned());
            check("write", is_written.map_err(|error| Error::from_io(&self.name(), error)))
        });
        let durable = root.as_ref().ok().map(|root| match fs::fsync(root) {
            Ok(()) => Check { what: "sync", result: CheckResult::Yes, detail: "its folders can be synced".to_owned() },
            Err(errno) => {
                let detail = format!(
                    "its folders cannot be synced ({errno}): after a crash of its machine the last objects may lack"
                );
                Check { what: "sync", result: CheckResult::Unknown, detail }
            }
        });
        let reached = check("reach", root.map(|_| self.name()));
        std::iter::once(reached).chain(written).chain(durable).collect()
    }
}

impl Dir {
    pub(super) fn call<T: Send + 'static>(
        &self,
        key: &ObjectKey,
        cancel: &Cancel,
        call: impl FnOnce(&Self, &ObjectKey, &Cancel) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (dir, key) = (self.clone(), key.clone());
        on_own_thread(&self.uri(&key), cancel, move |abandoned| call(&dir, &key, abandoned))
    }

    fn stat_file(&self, key: &ObjectKey) -> Result<Option<Stat>, Error> {
        let Some(file) = self.open_file(key, "")? else { return Ok(None) };
        let found = fs::fstat(&file).map_err(|errno| Error::from_io(&self.uri(key), errno.into()))?;
        let sha256 = match self.open_file(key, DIGEST_SUFFIX) {
            Err(Error::Foreign { .. }) | Ok(None) => None,
            Err(error) => return Err(error),
            Ok(Some(beside)) => {
                let mut line = String::new();
                // A damaged file is no digest, which is for the caller to judge.
                let read = beside.take(1_024).read_to_string(&mut line);
                read.ok().and_then(|_| parse_sha256(line.split_whitespace().next().unwrap_or_default()))
            }
        };
        let size = u64::try_from(found.st_size).unwrap_or_default();
        Ok(Some(Stat { size, checksums: kept(sha256), version: None, lock: None, etag: Some(etag(&found)) }))
    }

    fn read_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        let uri = self.uri(key);
        let failed = |error: io::Error| Error::from_io(&uri, error);
        if range.end.saturating_sub(range.start) > LARGEST_READ {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "the range is too long")));
        }
        let file: File = self.open_file(key, "")?.ok_or_else(|| Error::NoObject { uri: uri.clone() })?;
        let size = file.metadata().map_err(failed)?.len();
        let length = range.end.min(size).saturating_sub(range.start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
        Ok(bytes.into())
    }

    fn write_file(
        &self,
        key: &ObjectKey,
        bytes: &[u8],
        when: &Precondition,
        abandoned: &Cancel,
    ) -> Result<ObjectId, Error> {
        let uri = self.uri(key);
        let failed = |error: io::Error| Error::from_io(&uri, error);
        if key.as_str().ends_with(DIGEST_SUFFIX) {
            return Err(Error::Reserved { uri });
        }
        let (folder, name) = self.folder_of(key, true)?;
        remove_abandoned(&folder);
        let mut partial = Partial::create(&folder).map_err(failed)?;
        partial.file.write_all(bytes).and_then(|()| partial.file.sync_all()).map_err(failed)?;
        let locked = fs::flock(&folder, FlockOperation::LockExclusive);
        if let (Precondition::Unchanged(_), Err(errno)) = (when, locked) {
            // Two writers could both find the object unchanged.
            return Err(Error::NoPrecondition { uri, why: format!("its file system cannot lock: {errno}") });
        }
        let found = find(&folder, name, &uri)?;
        match (when, &found) {
            (Precondition::Absent, Some(_)) => return Err(Error::Exists { uri }),
            (Precondition::Unchanged(own), found) if found.as_ref().map(etag).as_ref() != Some(own) => {
                return Err(Error::Changed { uri });
            }
            _ => {}
        }
        abandoned.check().map_err(|_| Error::Cancelled { uri: uri.clone() })?;
        remove_digest(&folder, name).map_err(failed)?;
        match partial.rename(name, *when != Precondition::Absent) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Error::Exists { uri }),
            Err(error) => return Err(failed(error)),
        }
        sync_folder(&folder).map_err(|errno| failed(errno.into()))?;
        Ok(ObjectId::latest(key.clone()))
    }

    fn remove_file(&self, key: &ObjectKey, abandoned: &Cancel) -> Result<Removed, Error> {
        let uri = self.uri(key);
        let failed = |error: io::Error| Error::from_io(&uri, error);
        let (folder, name) = match self.folder_of(key, false) {
            Err(Error::NoObject { .. }) => return Ok(Removed::WasGone),
            other => other?,
        };
        // Not every file system can lock. A writer that comes in between is then removed with what it replaced.
        let _unlocked = fs::flock(&folder, FlockOperation::LockExclusive);
        if find(&folder, name, &uri)?.is_none() {
            return Ok(Removed::WasGone);
        }
        abandoned.check().map_err(|_| Error::Cancelled { uri: uri.clone() })?;
        // First: a crash in between leaves an object without a digest, and no digest that a later object could be taken for.
        remove_digest(&folder, name).map_err(failed)?;
        match fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => sync_folder(&folder).map(|()| Removed::Removed).map_err(|errno| failed(errno.into())),
            Err(Errno::NOENT) => Ok(Removed::WasGone),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

/// The file of that name, if there is one.
fn find(folder: &OwnedFd, name: &str, uri: &str) -> Result<Option<fs::Stat>, Error> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode).is_file() => Ok(Some(found)),
        Ok(_) => Err(Error::Foreign { uri: uri.to_owned() }),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::from_io(uri, errno.into())),
    }
}

/// Tells one file from another, and from itself after a change: `tl` replaces files, others may write into them.
fn etag(found: &fs::Stat) -> ETag {
    let fs::Stat { st_dev, st_ino, st_size, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec, .. } = found;
    ETag(format!("{st_dev}-{st_ino}-{st_size}-{st_mtime}.{st_mtime_nsec}-{st_ctime}.{st_ctime_nsec}"))
}

pub(super) fn kept(sha256: Option<[u8; 32]>) -> Checksums {
    sha256.map(|sha256| ("sha256".to_owned(), hex(&sha256))).into_iter().collect()
}

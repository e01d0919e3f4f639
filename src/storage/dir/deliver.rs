use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::storage::error::with_causes;
use crate::storage::{Body, Checksums, Coming, Error, Order, Stat, Stopped, Store, Stored, Trial, TrialResult};
use crate::value::{Digest, FilePath, ObjectKey, hex, parse_sha256};

/// A directory: each object a file, with its digest beside it in a file that `sha256sum -c` reads.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Dir {
    /// The directory. It must be there: a disk that is not mounted must not become a folder on the root disk.
    path: FilePath,
    /// Make the directory, and those above it, when it is missing.
    #[serde(default)]
    create: bool,
}

/// Sealed objects need no reader but their owner.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;
const BLOCK: usize = 256 * 1024;
const DIGEST_SUFFIX: &str = ".sha256";

impl Store for Dir {
    fn uri(&self, key: &ObjectKey) -> String {
        self.path.as_path().join(key.as_str()).display().to_string()
    }

    fn folder(&self) -> Option<&Path> {
        Some(self.path.as_path())
    }

    fn put(&self, key: &ObjectKey, body: &mut dyn Body, order: &Order<'_>) -> Result<Stored, Error> {
        let (uri, overwrite, ordered) = (self.uri(key), order.overwrite, order.ordered);
        if order.lock.is_some() {
            return Err(Error::NoLock { uri, why: "a directory has no object lock".to_owned() });
        }
        let failed = |error: io::Error| Error::from_io(&uri, error);
        let (folder, name) = self.folder_of(key, true)?;
        remove_abandoned(&folder);
        if !overwrite && fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(Error::Exists { uri });
        }
        order.witness.begun()?;
        let mut partial = Partial::create(&folder).map_err(failed)?;
        let written = copy(body, &mut partial.file, &uri)?;
        // `None`: the source never said that this was all, so it may not have been.
        if body.digest() != Some(written) {
            return Err(Error::Altered { uri });
        }
        partial.file.sync_all().map_err(failed)?;

        let beside = digest_file(&folder, name, &written).map_err(failed)?;
        let stored = Stored { digest: written, checksums: kept(Some(written.sha256)), version: None, lock: None };
        let checksums = stored.checksums.clone();
        order.witness.coming(&Coming { token: None, digest: written, checksums, lock: None, ordered })?;
        // One writer at a time, so that no digest stands beside the object of another. Not every file system can lock.
        let _unlocked = fs::flock(&folder, FlockOperation::LockExclusive);
        let digest_name = format!("{name}{DIGEST_SUFFIX}");
        if overwrite {
            // A crash from here on leaves an object without a digest, never one with a wrong digest.
            match fs::unlinkat(&folder, &digest_name, AtFlags::empty()) {
                Ok(()) => fs::fsync(&folder).map_err(|errno| failed(errno.into()))?,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        match partial.rename(name, overwrite) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Error::Exists { uri }),
            Err(error) => return Err(failed(error)),
        }
        beside.rename(&digest_name, true).map_err(failed)?;
        fs::fsync(&folder).map_err(|errno| failed(errno.into()))?;
        Ok(stored)
    }

    fn stat(&self, key: &ObjectKey, _version: Option<&str>, _stopped: &Stopped) -> Result<Option<Stat>, Error> {
        let uri = self.uri(key);
        let Some(file) = self.open(key, "")? else { return Ok(None) };
        let size = file.metadata().map_err(|error| Error::from_io(&uri, error))?.len();
        let sha256 = match self.open(key, DIGEST_SUFFIX) {
            Err(Error::Foreign { .. }) | Ok(None) => None,
            Err(error) => return Err(error),
            Ok(Some(beside)) => {
                let mut line = String::new();
                // A damaged file is no digest, which is for the caller to judge.
                let read = beside.take(1_024).read_to_string(&mut line);
                read.ok().and_then(|_| parse_sha256(line.split_whitespace().next().unwrap_or_default()))
            }
        };
        Ok(Some(Stat { size, checksums: kept(sha256), version: None, lock: None }))
    }

    fn get(&self, key: &ObjectKey, _version: Option<&str>, _stopped: &Stopped) -> Result<Box<dyn Read + Send>, Error> {
        let uri = self.uri(key);
        let file = self.open(key, "")?.ok_or(Error::NoObject { uri })?;
        // What is read back should come from the disk. Only a hint: pages that are still dirty stay.
        let _advice = fs::fadvise(&file, 0, None, fs::Advice::DontNeed);
        Ok(Box::new(file))
    }

    fn own(&self, key: &ObjectKey, coming: &Coming, stopped: &Stopped) -> Result<Option<Stored>, Error> {
        let uri = self.uri(key);
        let failed = |error: io::Error| Error::from_io(&uri, error);
        let mut file = match self.open(key, "") {
            Ok(None) | Err(Error::Foreign { .. }) => return Ok(None),
            other => other?.expect("what is not there was answered"),
        };
        let (folder, name) = self.folder_of(key, false)?;
        let found = file.metadata().map_err(failed)?;
        if found.len() != coming.digest.size || digest_of(&mut file, &uri, stopped)? != coming.digest {
            return Ok(None);
        }
        let beside = digest_file(&folder, name, &coming.digest).map_err(failed)?;
        let _unlocked = fs::flock(&folder, FlockOperation::LockExclusive);
        // Files are replaced, never written again: it is the one that was read while it is the same file.
        let now = fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if !now.is_ok_and(|now| now.st_ino == found.ino()) {
            return Ok(None);
        }
        beside.rename(&format!("{name}{DIGEST_SUFFIX}"), true).map_err(failed)?;
        // Its name may be younger than the last sync.
        fs::fsync(&folder).map_err(|errno| failed(errno.into()))?;
        let (digest, checksums) = (coming.digest, kept(Some(coming.digest.sha256)));
        Ok(Some(Stored { digest, checksums, version: None, lock: None }))
    }

    fn clear(&self, key: &ObjectKey, _since: Timestamp, _stopped: &Stopped) -> Result<usize, Error> {
        match self.folder_of(key, false) {
            Ok((folder, _)) => Ok(remove_abandoned(&folder)),
            Err(Error::NoObject { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn probe(&self) -> Vec<Trial> {
        let trial = |what, result: Result<String, Error>| match result {
            Ok(detail) => Trial { what, result: TrialResult::Yes, detail },
            Err(error) => Trial { what, result: TrialResult::Failed, detail: with_causes(&error) },
        };
        if self.create && !self.path.as_path().exists() {
            let detail = "it is missing; the first upload makes it".to_owned();
            return vec![Trial { what: "reach", result: TrialResult::Unknown, detail }];
        }
        let root = self.root();
        let written = root.as_ref().ok().map(|root| {
            let tried = Partial::create(root).and_then(|mut partial| partial.file.write_all(b"tl doctor"));
            let is_written = tried.map(|()| "a file was made and removed".to_owned());
            trial("write", is_written.map_err(|error| Error::from_io(&self.name(), error)))
        });
        let reached = trial("reach", root.map(|_| self.name()));
        std::iter::once(reached).chain(written).collect()
    }
}

fn kept(sha256: Option<[u8; 32]>) -> Checksums {
    sha256.map(|sha256| ("sha256".to_owned(), hex(&sha256))).into_iter().collect()
}

impl Dir {
    fn name(&self) -> String {
        self.path.as_path().display().to_string()
    }

    fn root(&self) -> Result<OwnedFd, Error> {
        let path = self.path.as_path();
        let open = || fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) if self.create => std::fs::create_dir_all(path)
                .map_err(|error| Error::from_io(&self.name(), error))
                .and_then(|()| open().map_err(|errno| Error::from_io(&self.name(), errno.into())))?,
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                return Err(Error::Missing { uri: self.name(), source: errno.into() });
            }
            other => other.map_err(|errno| Error::from_io(&self.name(), errno.into()))?,
        };
        Ok(opened)
    }

    /// The folder that holds an object, and the object's name in it. Never through a symbolic link: the key comes from
    /// an expression, and a link in the store must not lead out of it.
    fn folder_of<'k>(&self, key: &'k ObjectKey, create: bool) -> Result<(OwnedFd, &'k str), Error> {
        let mut folder = self.root()?;
        let mut parts = key.parts();
        let name = parts.next_back().expect("a key has at least one part");
        for part in parts {
            let failed = |errno: Errno| Error::from_io(&self.uri(key), errno.into());
            if create {
                match fs::mkdirat(&folder, part, DIR_MODE) {
                    Ok(()) => fs::fsync(&folder).map_err(failed)?,
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = match fs::openat(&folder, part, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Err(Error::NoObject { uri: self.uri(key) }),
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(Error::Foreign { uri: self.uri(key) }),
                other => other.map_err(failed)?,
            };
        }
        Ok((folder, name))
    }

    /// Opens an object, or a file beside it, for reading.
    fn open(&self, key: &ObjectKey, suffix: &str) -> Result<Option<File>, Error> {
        let failed = |errno: Errno| Error::from_io(&self.uri(key), errno.into());
        let (folder, name) = match self.folder_of(key, false) {
            Err(Error::NoObject { .. }) => return Ok(None),
            other => other?,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(&folder, format!("{name}{suffix}"), flags, Mode::empty()) {
            Ok(fd) => {
                let is_file = FileType::from_raw_mode(fs::fstat(&fd).map_err(failed)?.st_mode).is_file();
                if is_file { Ok(Some(File::from(fd))) } else { Err(Error::Foreign { uri: self.uri(key) }) }
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => Err(Error::Foreign { uri: self.uri(key) }),
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// Writes all of `body`, and says what was written.
fn copy(body: &mut dyn Body, file: &mut File, uri: &str) -> Result<Digest, Error> {
    let mut block = vec![0; BLOCK];
    let (mut hash, mut size) = (Sha256::new(), 0);
    loop {
        let read = match body.read(&mut block) {
            Ok(0) => return Ok(Digest { sha256: hash.finalize().into(), size }),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::Source { uri: uri.to_owned(), source }),
        };
        file.write_all(&block[..read]).map_err(|error| Error::from_io(uri, error))?;
        hash.update(&block[..read]);
        size += read as u64;
    }
}

/// What an object holds.
fn digest_of(file: &mut File, uri: &str, stopped: &Stopped) -> Result<Digest, Error> {
    let digest = Digest::of(file, &**stopped).map_err(|error| Error::from_io(uri, error))?;
    digest.ok_or_else(|| Error::Stopped { uri: uri.to_owned() })
}

/// The file that will stand beside an object, synced.
fn digest_file<'a>(folder: &'a OwnedFd, name: &str, digest: &Digest) -> io::Result<Partial<'a>> {
    let mut beside = Partial::create(folder)?;
    beside.file.write_all(format!("{}  {name}\n", digest.hex()).as_bytes())?;
    beside.file.sync_all()?;
    Ok(beside)
}

/// A file that is removed again unless it was given its name.
struct Partial<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
}

impl<'a> Partial<'a> {
    fn create(folder: &'a OwnedFd) -> io::Result<Self> {
        loop {
            let mut random = [0; 8];
            fastrand::Rng::new().fill(&mut random);
            let name = format!(".tl-{}.partial", hex(&random));
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(fs::openat(folder, &name, flags, FILE_MODE)?);
            // By explicit mode: the umask of whoever starts tl decides nothing.
            fs::fchmod(&file, FILE_MODE)?;
            // Says that somebody is writing it. Not every file system can lock; then nothing that is left is removed.
            let _unlocked = fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            // Before the lock, another writer may have taken it for one that was left.
            if fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Ok(Self { folder, name, file });
            }
        }
    }

    fn rename(mut self, to: &str, overwrite: bool) -> io::Result<()> {
        if overwrite {
            fs::renameat(self.folder, &self.name, self.folder, to)?;
        } else {
            match fs::renameat_with(self.folder, &self.name, self.folder, to, RenameFlags::NOREPLACE) {
                // Not every file system knows the flag; a link fails just as surely when the name is taken.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    fs::linkat(self.folder, &self.name, self.folder, to, AtFlags::empty())?;
                    fs::unlinkat(self.folder, &self.name, AtFlags::empty())?;
                }
                other => other?,
            }
        }
        self.name.clear();
        Ok(())
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // A leftover is harmless: its name says what it is, and no object has it.
            let _removed = fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Removes the unfinished files of writers that are gone, and says how many there were.
fn remove_abandoned(folder: &OwnedFd) -> usize {
    let Ok(entries) = fs::Dir::read_from(folder) else { return 0 };
    let mut removed = 0;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let is_partial = name.to_str().is_ok_and(|name| name.starts_with(".tl-") && name.ends_with(".partial"));
        if !is_partial {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = fs::openat(folder, name, flags, Mode::empty()) else { continue };
        if fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What cannot be removed now is tried again by the next upload.
            removed += usize::from(fs::unlinkat(folder, name, AtFlags::empty()).is_ok());
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OpenUpload;
    use crate::storage::Witness;

    struct Bytes<'a>(&'a [u8], Option<Digest>);

    impl Read for Bytes<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Body for Bytes<'_> {
        fn digest(&self) -> Option<Digest> {
            self.1
        }
    }

    fn order(overwrite: bool) -> Order<'static> {
        watched(overwrite, &Nobody)
    }

    fn watched(overwrite: bool, witness: &dyn Witness) -> Order<'_> {
        let (ordered, scratch) = (Timestamp::now(), Path::new("/"));
        Order { overwrite, lock: None, ordered, resume: None, scratch, stopped: never(), witness }
    }

    struct Nobody;

    impl Witness for Nobody {
        fn begun(&self) -> Result<(), Error> {
            Ok(())
        }

        fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
            Ok(())
        }

        fn kept(&self, _bytes: u64) {}

        fn coming(&self, _coming: &Coming) -> Result<(), Error> {
            Ok(())
        }
    }

    fn never() -> Stopped {
        std::sync::Arc::new(|| false)
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest { sha256: Sha256::digest(bytes).into(), size: bytes.len() as u64 }
    }

    fn stat(digest: Digest) -> Stat {
        Stat { size: digest.size, checksums: kept(Some(digest.sha256)), version: None, lock: None }
    }

    fn store(path: &Path, create: bool) -> Dir {
        serde_json::from_value(serde_json::json!({ "path": path, "create": create })).unwrap()
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_object_is_there_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), false);
        let key = "day/object".parse().unwrap();
        let good = digest(b"hello");
        for claimed in [None, Some(digest(b"hellx")), Some(Digest { size: 4, ..good })] {
            let error = store.put(&key, &mut Bytes(b"hello", claimed), &order(false)).unwrap_err();
            assert!(matches!(error, Error::Altered { .. }), "{error:?}");
            assert!(names(&root.path().join("day")).is_empty());
        }
        assert_eq!(store.put(&key, &mut Bytes(b"hello", Some(good)), &order(false)).unwrap().digest, good);
        assert_eq!(names(&root.path().join("day")), ["object", "object.sha256"]);
        assert_eq!(store.stat(&key, None, &never()).unwrap(), Some(stat(good)));
        let mut back = String::new();
        store.get(&key, None, &never()).unwrap().read_to_string(&mut back).unwrap();
        assert_eq!(back, "hello");
    }

    #[test]
    fn what_is_there_stays_unless_told() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), false);
        let key = "object".parse().unwrap();
        store.put(&key, &mut Bytes(b"one", Some(digest(b"one"))), &order(false)).unwrap();
        let error = store.put(&key, &mut Bytes(b"two", Some(digest(b"two"))), &order(false)).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }));
        assert_eq!(std::fs::read(root.path().join("object")).unwrap(), b"one");
        store.put(&key, &mut Bytes(b"two", Some(digest(b"two"))), &order(true)).unwrap();
        assert_eq!(std::fs::read(root.path().join("object")).unwrap(), b"two");
    }

    /// Another writer that is faster, with other bytes: its object and its digest stay together.
    struct Overtaken<'a>(&'a Dir, ObjectKey, Bytes<'a>);

    impl Read for Overtaken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.2.0.len() == 4 {
                self.0.put(&self.1, &mut Bytes(b"first", Some(digest(b"first"))), &order(false)).unwrap();
            }
            self.2.read(buffer)
        }
    }

    impl Body for Overtaken<'_> {
        fn digest(&self) -> Option<Digest> {
            self.2.1
        }
    }

    #[test]
    fn a_writer_that_loses_leaves_the_winners_digest_alone() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), false);
        let key: ObjectKey = "object".parse().unwrap();
        let mut late = Overtaken(&store, key.clone(), Bytes(b"late", Some(digest(b"late"))));
        assert!(matches!(store.put(&key, &mut late, &order(false)).unwrap_err(), Error::Exists { .. }));
        assert_eq!(store.stat(&key, None, &never()).unwrap(), Some(stat(digest(b"first"))));
        assert_eq!(names(root.path()), ["object", "object.sha256"]);
    }

    #[test]
    fn what_a_dead_writer_left_is_removed_and_what_a_living_one_writes_is_not() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), false);
        std::fs::write(root.path().join(".tl-00.partial"), "left").unwrap();
        let folder = store.root().unwrap();
        let alive = Partial::create(&folder).unwrap();
        store.put(&"object".parse().unwrap(), &mut Bytes(b"x", Some(digest(b"x"))), &order(false)).unwrap();
        assert_eq!(names(root.path()), [alive.name.as_str(), "object", "object.sha256"]);
    }

    #[test]
    fn a_missing_store_is_named_and_not_made() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("not/mounted");
        let key = "object".parse().unwrap();
        let mut body = Bytes(b"", Some(digest(b"")));
        let error = store(&path, false).put(&key, &mut body, &order(false)).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        assert!(!path.exists());
        store(&path, true).put(&key, &mut body, &order(false)).unwrap();
        assert!(path.join("object").exists());
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_store() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("day")).unwrap();
        let mut body = Bytes(b"x", Some(digest(b"x")));
        assert!(store(root.path(), false).put(&"day/object".parse().unwrap(), &mut body, &order(false)).is_err());
        assert!(names(outside.path()).is_empty());
    }

    /// Ends the process at one of its moments, as a kill would: nothing is tidied up.
    struct Killed(String);

    impl Killed {
        fn at(&self, moment: &str) {
            if self.0 == moment {
                std::process::exit(9);
            }
        }
    }

    impl Witness for Killed {
        fn begun(&self) -> Result<(), Error> {
            self.at("begun");
            Ok(())
        }

        fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
            Ok(())
        }

        fn kept(&self, _bytes: u64) {}

        fn coming(&self, coming: &Coming) -> Result<(), Error> {
            std::fs::write(std::env::var("TL_TEST_COMING").unwrap(), serde_json::to_vec(coming).unwrap()).unwrap();
            self.at("coming");
            Ok(())
        }
    }

    impl Read for Killed {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            self.at("middle");
            Ok(0)
        }
    }

    struct Chained(io::Chain<&'static [u8], Killed>);

    impl Read for Chained {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Body for Chained {
        fn digest(&self) -> Option<Digest> {
            Some(digest(b"hello"))
        }
    }

    #[test]
    #[ignore = "ends its process: another test starts it in one of its own"]
    fn a_writer_that_is_killed() {
        let moment = || Killed(std::env::var("TL_TEST_MOMENT").unwrap());
        let store = store(Path::new(&std::env::var("TL_TEST_ROOT").unwrap()), false);
        let mut body = Chained(b"hello".as_slice().chain(moment()));
        store.put(&"day/object".parse().unwrap(), &mut body, &watched(true, &moment())).unwrap();
    }

    /// Starts a writer that is killed at this moment; returns what it said was coming.
    fn killed_at(moment: &str, root: &Path) -> Option<Coming> {
        let told = tempfile::tempdir().unwrap();
        let told = told.path().join("coming");
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::dir::deliver::tests::a_writer_that_is_killed", "--ignored"])
            .env("TL_TEST_MOMENT", moment)
            .env("TL_TEST_ROOT", root)
            .env("TL_TEST_COMING", &told)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(if moment == "never" { 0 } else { 9 }), "{moment}: {ended:?}");
        std::fs::read(told).ok().map(|json| serde_json::from_slice(&json).unwrap())
    }

    #[test]
    fn what_a_killed_writer_left_is_found_or_taken_back() {
        let key: ObjectKey = "day/object".parse().unwrap();
        for (moment, partials) in [("begun", 0), ("middle", 1), ("coming", 2)] {
            let root = tempfile::tempdir().unwrap();
            let (store, day) = (store(root.path(), false), root.path().join("day"));
            let coming = killed_at(moment, root.path());
            assert_eq!((coming.is_some(), names(&day).len()), (moment == "coming", partials), "{moment}");
            assert_eq!(store.clear(&key, Timestamp::UNIX_EPOCH, &never()).unwrap(), partials, "{moment}");
            assert_eq!(names(&day), [""; 0], "{moment}");
            if let Some(coming) = coming {
                assert_eq!(coming.digest, digest(b"hello"));
                assert_eq!(store.own(&key, &coming, &never()).unwrap(), None);
            }
            let stored = store.put(&key, &mut Bytes(b"hello", Some(digest(b"hello"))), &order(false));
            assert!(stored.is_ok(), "{moment}: {stored:?}");
        }
        // Nothing of a store that nobody wrote to.
        let root = tempfile::tempdir().unwrap();
        assert_eq!(store(root.path(), false).clear(&key, Timestamp::UNIX_EPOCH, &never()).unwrap(), 0);
    }

    #[test]
    fn an_object_that_appeared_is_made_as_an_undisturbed_writer_leaves_it() {
        let key: ObjectKey = "day/object".parse().unwrap();
        let root = tempfile::tempdir().unwrap();
        let (store, day) = (store(root.path(), false), root.path().join("day"));
        let coming = killed_at("never", root.path()).unwrap();
        let kept = std::fs::read(day.join("object.sha256")).unwrap();
        let own = Stored { digest: coming.digest, checksums: coming.checksums.clone(), version: None, lock: None };
        // After the object has its name; between the two names where it gets it by a link; before the digest is right.
        let unfinished: [&dyn Fn(); 3] = [
            &|| std::fs::remove_file(day.join("object.sha256")).unwrap(),
            &|| std::fs::hard_link(day.join("object"), day.join(".tl-00.partial")).unwrap(),
            &|| std::fs::write(day.join("object.sha256"), "").unwrap(),
        ];
        for undo in unfinished {
            undo();
            store.clear(&key, Timestamp::UNIX_EPOCH, &never()).unwrap();
            assert_eq!(store.own(&key, &coming, &never()).unwrap().as_ref(), Some(&own));
            assert_eq!(names(&day), ["object", "object.sha256"]);
            assert_eq!(std::fs::read(day.join("object.sha256")).unwrap(), kept);
        }
        assert!(matches!(
            store.own(&key, &coming, &(std::sync::Arc::new(|| true) as Stopped)),
            Err(Error::Stopped { .. })
        ));
        // Another's: of the same length, of another one, no file.
        for other in ["hellO", "hell", "hello!"] {
            std::fs::write(day.join("object"), other).unwrap();
            assert_eq!(store.own(&key, &coming, &never()).unwrap(), None, "{other}");
        }
        std::fs::remove_file(day.join("object")).unwrap();
        std::fs::create_dir(day.join("object")).unwrap();
        assert_eq!(store.own(&key, &coming, &never()).unwrap(), None);
        assert_eq!(std::fs::read(day.join("object.sha256")).unwrap(), kept, "the digest of another's is left alone");
    }

    /// Says at one of its moments that it could not be put on record.
    struct Refuses(&'static str);

    impl Refuses {
        fn at(&self, moment: &str) -> Result<(), Error> {
            let source = "the disk is full".into();
            if self.0 == moment { Err(Error::Unrecorded { uri: "object".to_owned(), source }) } else { Ok(()) }
        }
    }

    impl Witness for Refuses {
        fn begun(&self) -> Result<(), Error> {
            self.at("begun")
        }

        fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
            Ok(())
        }

        fn kept(&self, _bytes: u64) {}

        fn coming(&self, _coming: &Coming) -> Result<(), Error> {
            self.at("coming")
        }
    }

    #[test]
    fn what_is_not_on_record_does_not_appear_and_replaces_nothing() {
        let key: ObjectKey = "object".parse().unwrap();
        for (there, moment) in [(false, "begun"), (false, "coming"), (true, "begun"), (true, "coming")] {
            let root = tempfile::tempdir().unwrap();
            let store = store(root.path(), false);
            if there {
                store.put(&key, &mut Bytes(b"old", Some(digest(b"old"))), &order(false)).unwrap();
            }
            let before = names(root.path());
            let mut body = Bytes(b"new", Some(digest(b"new")));
            let error = store.put(&key, &mut body, &watched(true, &Refuses(moment))).unwrap_err();
            assert!(matches!(error, Error::Unrecorded { .. }), "{error:?}");
            assert_eq!(names(root.path()), before);
            let kept = store.stat(&key, None, &never()).unwrap();
            assert_eq!(kept, there.then(|| stat(digest(b"old"))));
        }
    }
}

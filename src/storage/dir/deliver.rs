use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use jiff::Timestamp;
use rustix::fs::{self, AtFlags, FlockOperation};
use sha2::{Digest as _, Sha256};

use super::Dir;
use super::folder::{DIGEST_SUFFIX, Partial, remove_abandoned, remove_digest, sync_folder};
use super::objects::kept;
use crate::storage::{
    Body, Deliver, Delivered, Error, ObjectId, Objects as _, PendingObject, UploadJournal, UploadOptions,
};
use crate::value::{Cancel, Digest, ObjectKey};

const BLOCK: usize = 256 * 1024;

impl Deliver for Dir {
    fn upload(
        &self,
        key: &ObjectKey,
        body: &mut dyn Body,
        options: &UploadOptions<'_>,
        journal: &dyn UploadJournal,
        cancel: &Cancel,
    ) -> Result<Delivered, Error> {
        let (uri, overwrite, ordered) = (self.uri(key), options.overwrite, options.ordered);
        if options.lock.is_some() {
            return Err(Error::NoLock { uri, why: "a directory has no object lock".to_owned() });
        }
        let failed = |error: io::Error| Error::from_io(&uri, error);
        let name = key.parts().next_back().expect("a key has at least one part");
        let opened = self.call(key, cancel, |dir, key, _| {
            let (folder, name) = dir.folder_of(key, true)?;
            remove_abandoned(&folder);
            let is_there = fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
            Ok((folder, is_there))
        });
        let (folder, is_there) = opened?;
        if !overwrite && is_there {
            return Err(Error::Exists { uri });
        }
        journal.begun()?;
        let mut partial = Partial::create(&folder).map_err(failed)?;
        // A cancel reaches the body, whose next read fails.
        let written = copy(body, &mut partial.file, &uri)?;
        // `None`: the source never said that this was all, so it may not have been.
        if body.digest() != Some(written) {
            return Err(Error::Altered { uri });
        }
        partial.file.sync_all().map_err(failed)?;

        let beside = digest_file(&folder, name, &written).map_err(failed)?;
        let checksums = kept(Some(written.sha256));
        let delivered = Delivered { digest: written, checksums: checksums.clone(), version: None, lock: None };
        journal.pending(&PendingObject { token: None, digest: written, checksums, lock: None, ordered })?;
        // One writer at a time, so that no digest stands beside the object of another. Not every file system can lock.
        let _unlocked = fs::flock(&folder, FlockOperation::LockExclusive);
        if overwrite {
            // A crash from here on leaves an object without a digest, never one with a wrong digest.
            remove_digest(&folder, name).map_err(failed)?;
        }
        match partial.rename(name, overwrite) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Error::Exists { uri }),
            Err(error) => return Err(failed(error)),
        }
        beside.rename(&format!("{name}{DIGEST_SUFFIX}"), true).map_err(failed)?;
        sync_folder(&folder).map_err(|errno| failed(errno.into()))?;
        Ok(delivered)
    }

    fn recover(&self, key: &ObjectKey, pending: &PendingObject, cancel: &Cancel) -> Result<Option<Delivered>, Error> {
        let pending = pending.clone();
        self.call(key, cancel, move |dir, key, abandoned| dir.recover_file(key, &pending, abandoned))
    }

    /// The digest beside an object tells whose it is.
    fn is_own(&self, key: &ObjectKey, pending: &PendingObject, cancel: &Cancel) -> Result<bool, Error> {
        let stat = match self.stat(&ObjectId { key: key.clone(), version: None }, cancel) {
            Err(Error::Foreign { .. }) => None,
            stat => stat?,
        };
        let own = kept(Some(pending.digest.sha256));
        Ok(stat.is_some_and(|stat| !stat.checksums.is_empty() && stat.checksums == own))
    }

    fn discard_unfinished(&self, key: &ObjectKey, _since: Timestamp, cancel: &Cancel) -> Result<usize, Error> {
        self.call(key, cancel, |dir, key, _| match dir.folder_of(key, false) {
            Ok((folder, _)) => Ok(remove_abandoned(&folder)),
            Err(Error::NoObject { .. }) => Ok(0),
            Err(error) => Err(error),
        })
    }
}

impl Dir {
    fn recover_file(
        &self,
        key: &ObjectKey,
        pending: &PendingObject,
        cancel: &Cancel,
    ) -> Result<Option<Delivered>, Error> {
        let uri = self.uri(key);
        let failed = |error: io::Error| Error::from_io(&uri, error);
        let mut file = match self.open_file(key, "") {
            Ok(None) | Err(Error::Foreign { .. }) => return Ok(None),
            other => other?.expect("a missing file returned above"),
        };
        let (folder, name) = self.folder_of(key, false)?;
        let found = file.metadata().map_err(failed)?;
        if found.len() != pending.digest.size || digest_of(&mut file, &uri, cancel)? != pending.digest {
            return Ok(None);
        }
        let beside = digest_file(&folder, name, &pending.digest).map_err(failed)?;
        let _unlocked = fs::flock(&folder, FlockOperation::LockExclusive);
        // Deliveries replace files and never write into them: the same inode is the file that was read.
        let now = fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if !now.is_ok_and(|now| now.st_ino == found.ino()) {
            return Ok(None);
        }
        beside.rename(&format!("{name}{DIGEST_SUFFIX}"), true).map_err(failed)?;
        // The object's name may be younger than the last sync.
        sync_folder(&folder).map_err(|errno| failed(errno.into()))?;
        let (digest, checksums) = (pending.digest, kept(Some(pending.digest.sha256)));
        Ok(Some(Delivered { digest, checksums, version: None, lock: None }))
    }
}

/// Writes all of `body`, and returns the digest of what was written.
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

/// The digest of a file.
fn digest_of(file: &mut File, uri: &str, cancel: &Cancel) -> Result<Digest, Error> {
    let digest = Digest::of(file, &|| cancel.is_cancelled()).map_err(|error| Error::from_io(uri, error))?;
    digest.ok_or_else(|| Error::Cancelled { uri: uri.to_owned() })
}

/// The file with the digest of an object, synced and without its name yet.
fn digest_file<'a>(folder: &'a OwnedFd, name: &str, digest: &Digest) -> io::Result<Partial<'a>> {
    let mut beside = Partial::create(folder)?;
    beside.file.write_all(format!("{}  {name}\n", digest.hex()).as_bytes())?;
    beside.file.sync_all()?;
    Ok(beside)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::path::Path;

    use super::*;
    use crate::storage::{ObjectId, OpenUpload, Stat};
    use crate::value::CancelReason;

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

    fn options(overwrite: bool) -> UploadOptions<'static> {
        UploadOptions { overwrite, lock: None, ordered: Timestamp::now(), resume: None, scratch: Path::new("/") }
    }

    fn upload(store: &Dir, key: &ObjectKey, body: &mut dyn Body, overwrite: bool) -> Result<Delivered, Error> {
        store.upload(key, body, &options(overwrite), &NoJournal, &Cancel::default())
    }

    fn stat_of(store: &Dir, key: &ObjectKey) -> Option<Stat> {
        let found = store.stat(&ObjectId::latest(key.clone()), &Cancel::default()).unwrap();
        found.map(|stat| Stat { etag: None, ..stat })
    }

    struct NoJournal;

    impl UploadJournal for NoJournal {
        fn begun(&self) -> Result<(), Error> {
            Ok(())
        }

        fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
            Ok(())
        }

        fn reused(&self, _bytes: u64) {}

        fn pending(&self, _coming: &PendingObject) -> Result<(), Error> {
            Ok(())
        }
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest { sha256: Sha256::digest(bytes).into(), size: bytes.len() as u64 }
    }

    fn stat(digest: Digest) -> Stat {
        Stat { size: digest.size, checksums: kept(Some(digest.sha256)), version: None, lock: None, etag: None }
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
            let error = upload(&store, &key, &mut Bytes(b"hello", claimed), false).unwrap_err();
            assert!(matches!(error, Error::Altered { .. }), "{error:?}");
            assert!(names(&root.path().join("day")).is_empty());
        }
        assert_eq!(upload(&store, &key, &mut Bytes(b"hello", Some(good)), false).unwrap().digest, good);
        assert_eq!(names(&root.path().join("day")), ["object", "object.sha256"]);
        assert_eq!(stat_of(&store, &key), Some(stat(good)));
        let mut back = String::new();
        store.open(&ObjectId::latest(key), &Cancel::default()).unwrap().read_to_string(&mut back).unwrap();
        assert_eq!(back, "hello");
    }

    #[test]
    fn what_is_there_stays_unless_told() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), false);
        let key = "object".parse().unwrap();
        upload(&store, &key, &mut Bytes(b"one", Some(digest(b"one"))), false).unwrap();
        let error = upload(&store, &key, &mut Bytes(b"two", Some(digest(b"two"))), false).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }));
        assert_eq!(std::fs::read(root.path().join("object")).unwrap(), b"one");
        upload(&store, &key, &mut Bytes(b"two", Some(digest(b"two"))), true).unwrap();
        assert_eq!(std::fs::read(root.path().join("object")).unwrap(), b"two");
    }

    /// Another writer that is faster, with other bytes: its object and its digest stay together.
    struct Overtaken<'a>(&'a Dir, ObjectKey, Bytes<'a>);

    impl Read for Overtaken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.2.0.len() == 4 {
                upload(self.0, &self.1, &mut Bytes(b"first", Some(digest(b"first"))), false).unwrap();
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
        assert!(matches!(upload(&store, &key, &mut late, false).unwrap_err(), Error::Exists { .. }));
        assert_eq!(stat_of(&store, &key), Some(stat(digest(b"first"))));
        assert_eq!(names(root.path()), ["object", "object.sha256"]);
    }

    #[test]
    fn what_a_dead_writer_left_is_removed_and_what_a_living_one_writes_is_not() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), false);
        std::fs::write(root.path().join(".tl-00.partial"), "left").unwrap();
        let folder = store.root().unwrap();
        let alive = Partial::create(&folder).unwrap();
        upload(&store, &"object".parse().unwrap(), &mut Bytes(b"x", Some(digest(b"x"))), false).unwrap();
        assert_eq!(names(root.path()), [alive.name.as_str(), "object", "object.sha256"]);
    }

    #[test]
    fn a_missing_store_is_named_and_not_made() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("not/mounted");
        let key = "object".parse().unwrap();
        let mut body = Bytes(b"", Some(digest(b"")));
        let error = upload(&store(&path, false), &key, &mut body, false).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        assert!(!path.exists());
        upload(&store(&path, true), &key, &mut body, false).unwrap();
        assert!(path.join("object").exists());
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_store() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("day")).unwrap();
        let mut body = Bytes(b"x", Some(digest(b"x")));
        assert!(upload(&store(root.path(), false), &"day/object".parse().unwrap(), &mut body, false).is_err());
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

    impl UploadJournal for Killed {
        fn begun(&self) -> Result<(), Error> {
            self.at("begun");
            Ok(())
        }

        fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
            Ok(())
        }

        fn reused(&self, _bytes: u64) {}

        fn pending(&self, pending: &PendingObject) -> Result<(), Error> {
            std::fs::write(std::env::var("TL_TEST_COMING").unwrap(), serde_json::to_vec(pending).unwrap()).unwrap();
            self.at("pending");
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
        store.upload(&"day/object".parse().unwrap(), &mut body, &options(true), &moment(), &Cancel::default()).unwrap();
    }

    /// Starts a writer that is killed at this moment; returns what it said was pending.
    fn killed_at(moment: &str, root: &Path) -> Option<PendingObject> {
        let told = tempfile::tempdir().unwrap();
        let told = told.path().join("pending");
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
        for (moment, partials) in [("begun", 0), ("middle", 1), ("pending", 2)] {
            let root = tempfile::tempdir().unwrap();
            let (store, day) = (store(root.path(), false), root.path().join("day"));
            let pending = killed_at(moment, root.path());
            assert_eq!((pending.is_some(), names(&day).len()), (moment == "pending", partials), "{moment}");
            assert_eq!(
                store.discard_unfinished(&key, Timestamp::UNIX_EPOCH, &Cancel::default()).unwrap(),
                partials,
                "{moment}"
            );
            assert_eq!(names(&day), [""; 0], "{moment}");
            if let Some(pending) = pending {
                assert_eq!(pending.digest, digest(b"hello"));
                assert_eq!(store.recover(&key, &pending, &Cancel::default()).unwrap(), None);
            }
            let stored = upload(&store, &key, &mut Bytes(b"hello", Some(digest(b"hello"))), false);
            assert!(stored.is_ok(), "{moment}: {stored:?}");
        }
        // Nothing of a store that nobody wrote to.
        let root = tempfile::tempdir().unwrap();
        assert_eq!(
            store(root.path(), false).discard_unfinished(&key, Timestamp::UNIX_EPOCH, &Cancel::default()).unwrap(),
            0
        );
    }

    #[test]
    fn an_object_that_appeared_is_made_as_an_undisturbed_writer_leaves_it() {
        let key: ObjectKey = "day/object".parse().unwrap();
        let root = tempfile::tempdir().unwrap();
        let (store, day) = (store(root.path(), false), root.path().join("day"));
        let pending = killed_at("never", root.path()).unwrap();
        let kept = std::fs::read(day.join("object.sha256")).unwrap();
        let own = Delivered { digest: pending.digest, checksums: pending.checksums.clone(), version: None, lock: None };
        // After the object has its name; between the two names where it gets it by a link; before the digest is right.
        let unfinished: [&dyn Fn(); 3] = [
            &|| std::fs::remove_file(day.join("object.sha256")).unwrap(),
            &|| std::fs::hard_link(day.join("object"), day.join(".tl-00.partial")).unwrap(),
            &|| std::fs::write(day.join("object.sha256"), "").unwrap(),
        ];
        for undo in unfinished {
            undo();
            store.discard_unfinished(&key, Timestamp::UNIX_EPOCH, &Cancel::default()).unwrap();
            assert_eq!(store.recover(&key, &pending, &Cancel::default()).unwrap().as_ref(), Some(&own));
            assert_eq!(names(&day), ["object", "object.sha256"]);
            assert_eq!(std::fs::read(day.join("object.sha256")).unwrap(), kept);
        }
        let cancelled = Cancel::default();
        cancelled.cancel(CancelReason::Requested);
        assert!(matches!(store.recover(&key, &pending, &cancelled), Err(Error::Cancelled { .. })));
        // Another's: of the same length, of another one, no file.
        for other in ["hellO", "hell", "hello!"] {
            std::fs::write(day.join("object"), other).unwrap();
            assert_eq!(store.recover(&key, &pending, &Cancel::default()).unwrap(), None, "{other}");
        }
        std::fs::remove_file(day.join("object")).unwrap();
        std::fs::create_dir(day.join("object")).unwrap();
        assert_eq!(store.recover(&key, &pending, &Cancel::default()).unwrap(), None);
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

    impl UploadJournal for Refuses {
        fn begun(&self) -> Result<(), Error> {
            self.at("begun")
        }

        fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
            Ok(())
        }

        fn reused(&self, _bytes: u64) {}

        fn pending(&self, _coming: &PendingObject) -> Result<(), Error> {
            self.at("pending")
        }
    }

    #[test]
    fn what_is_not_on_record_does_not_appear_and_replaces_nothing() {
        let key: ObjectKey = "object".parse().unwrap();
        for (there, moment) in [(false, "begun"), (false, "pending"), (true, "begun"), (true, "pending")] {
            let root = tempfile::tempdir().unwrap();
            let store = store(root.path(), false);
            if there {
                upload(&store, &key, &mut Bytes(b"old", Some(digest(b"old"))), false).unwrap();
            }
            let before = names(root.path());
            let mut body = Bytes(b"new", Some(digest(b"new")));
            let error =
                store.upload(&key, &mut body, &options(true), &Refuses(moment), &Cancel::default()).unwrap_err();
            assert!(matches!(error, Error::Unrecorded { .. }), "{error:?}");
            assert_eq!(names(root.path()), before);
            let kept = stat_of(&store, &key);
            assert_eq!(kept, there.then(|| stat(digest(b"old"))));
        }
    }
}

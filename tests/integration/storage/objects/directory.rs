//! A directory: the suite, and properties that only files have.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use timelocker::storage::{Error, Precondition, Removed, Store};

use super::conformance::{Lack, Subject, content, dir, id, key, listed, never, stat, write};
use crate::support::uploads::{StepJournal, put};

#[test]
fn a_directory_conforms() {
    let root = tempfile::tempdir().unwrap();
    let fill = |_: &dyn Store, names: &[String]| {
        for name in names {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
    };
    Subject { store: dir(root.path()), lacks: &[Lack::Lock], longest_key: 1_024, fill: &fill }.conforms();
}

#[test]
fn a_small_write_leaves_no_digest_of_other_bytes() {
    let root = tempfile::tempdir().unwrap();
    let store = dir(root.path());
    let store = store.as_ref();
    put(store, b"delivered", &StepJournal::default()).unwrap();
    assert!(stat(store, "object").unwrap().checksums.contains_key("sha256"));
    assert_eq!(listed(store, ""), ["object", "object.sha256"]);
    write(store, "object", b"small");
    assert!(stat(store, "object").unwrap().checksums.is_empty());
    assert_eq!(listed(store, ""), ["object"]);

    // An old digest file is not mistaken for that of a new object.
    fs::remove_file(root.path().join("object")).unwrap();
    fs::write(root.path().join("object.sha256"), format!("{}  object\n", "a".repeat(64))).unwrap();
    store.write(&key("object"), b"new", &Precondition::Absent, &never()).unwrap();
    assert!(stat(store, "object").unwrap().checksums.is_empty());
}

#[test]
fn digests_are_listed_and_removed_and_only_deliveries_write_them() {
    let root = tempfile::tempdir().unwrap();
    let store = dir(root.path());
    let store = store.as_ref();
    put(store, b"delivered", &StepJournal::default()).unwrap();
    let refused = store.write(&key("object.sha256"), b"x", &Precondition::None, &never());
    assert!(matches!(refused, Err(Error::Reserved { .. })), "{refused:?}");
    assert_eq!(stat(store, "object.sha256").unwrap().size, 64 + 2 + 7);
    assert_eq!(content(store, "object.sha256").len(), 64 + 2 + 7);
    assert_eq!(store.remove(&id("object.sha256"), &never()).unwrap(), Removed::Removed);
    assert_eq!(listed(store, ""), ["object"]);
    put(store, b"delivered", &StepJournal::default()).unwrap();
    assert_eq!(store.remove(&id("object"), &never()).unwrap(), Removed::Removed);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "its digest goes with it");
}

#[test]
fn what_is_no_object_is_counted_and_what_is_unfinished_is_not_seen() {
    let root = tempfile::tempdir().unwrap();
    let store = dir(root.path());
    let store = store.as_ref();
    let path = root.path();
    fs::create_dir_all(path.join("day")).unwrap();
    for name in ["day/a", "day/.tl-00.partial", ".tl-own", "line\nbreak"] {
        fs::write(path.join(name), "x").unwrap();
    }
    fs::write(path.join(OsStr::from_bytes(b"\xff")), "x").unwrap();
    symlink("day/a", path.join("link")).unwrap();
    fs::create_dir(path.join("lost+found")).unwrap();
    symlink("day", path.join("other")).unwrap();
    let page = store.list("", None, &never()).unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["day/a"]);
    assert_eq!(page.skipped, 4, "a line break, no UTF-8, two links");
    for link in ["link", "other/a"] {
        let error = store.remove(&id(link), &never()).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    }
    assert!(path.join("day/a").exists());
}

#[test]
fn a_file_that_somebody_writes_into_is_not_unchanged() {
    let root = tempfile::tempdir().unwrap();
    let store = dir(root.path());
    write(store.as_ref(), "a", b"one");
    let etag = stat(store.as_ref(), "a").unwrap().etag.unwrap();
    // The same length, and the old modification time restored.
    let file = fs::File::options().write(true).open(root.path().join("a")).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(root.path().join("a"), "two").unwrap();
    file.set_modified(modified).unwrap();
    let late = store.write(&key("a"), b"new", &Precondition::Unchanged(etag), &never());
    assert!(matches!(late, Err(Error::Changed { .. })), "{late:?}");
    assert_eq!(content(store.as_ref(), "a"), b"two");
}

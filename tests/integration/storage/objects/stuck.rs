//! Calls that hang in the kernel: the caller returns, and the abandoned call has no effect later.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use timelocker::storage::{Error, Precondition};
use timelocker::value::{Cancel, CancelReason};

use super::conformance::{content, dir, id, key, never, stat, write};
use crate::support::preloaded;
use crate::support::uploads::{StepJournal, put};

/// Runs a call that hangs, and cancels it.
fn cancelled(what: &str, call: impl FnOnce(&Cancel) -> Result<(), Error> + Send) {
    let cancel = never();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| call(&cancel));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!call.is_finished(), "{what} does not hang");
        cancel.cancel(CancelReason::Requested);
        let result = call.join().unwrap();
        assert!(matches!(result, Err(Error::Cancelled { .. })), "{what}: {result:?}");
    });
}

/// Another process holds the lock of the folder, like one whose own call hangs.
#[test]
fn a_write_and_a_removal_that_wait_for_a_lock_return_and_do_nothing_later() {
    let root = tempfile::tempdir().unwrap();
    let store = dir(root.path());
    write(store.as_ref(), "a", b"one");
    let folder = File::open(root.path()).unwrap();
    folder.lock().unwrap();
    cancelled("write", |cancel| store.write(&key("a"), b"two", &Precondition::None, cancel).map(drop));
    cancelled("create", |cancel| store.write(&key("b"), b"two", &Precondition::Absent, cancel).map(drop));
    cancelled("remove", |cancel| store.remove(&id("a"), cancel).map(drop));
    folder.unlock().unwrap();
    // Each abandoned call gets the lock now. This write is the last to get it.
    for round in 0..50 {
        write(store.as_ref(), "last", format!("{round}").as_bytes());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(content(store.as_ref(), "a"), b"one");
    assert_eq!(stat(store.as_ref(), "b"), None);
    let partials = fs::read_dir(root.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".partial"));
    assert_eq!(partials.count(), 0, "what was given up is tidied up");
}

#[test]
#[ignore = "needs a file system that hangs: another test starts it with one"]
fn calls_that_hang() {
    let store = dir(Path::new(&std::env::var("TL_STUCK_BELOW").unwrap()));
    // The digest file next to the object is read.
    cancelled("stat", |cancel| store.stat(&id("object"), cancel).map(drop));
    cancelled("read", |cancel| store.read(&id("object"), 0..4, cancel).map(drop));
    cancelled("open", |cancel| {
        let read = store.open(&id("object"), cancel)?.read_to_end(&mut Vec::new());
        read.map(drop).map_err(|error| Error::from_io("object", error))
    });
}

/// Its threads hang forever, so it runs in a process of its own. That process must end all the same.
#[test]
fn a_store_on_a_file_system_that_hangs_lets_its_callers_go() {
    let root = tempfile::tempdir().unwrap();
    put(dir(root.path()).as_ref(), b"hello", &StepJournal::default()).unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::calls_that_hang"), "--ignored"])
        .env("LD_PRELOAD", preloaded("stuck"))
        .env("TL_STUCK_BELOW", root.path())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"), "{ended:?}");
}

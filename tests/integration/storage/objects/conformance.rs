//! The behaviour that every store must have. A store lists what it lacks, and fails the suite once it no longer lacks
//! it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Barrier};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use timelocker::storage::{
    ETag, Error, KINDS, LARGEST_READ, Lock, LockMode, ObjectId, PAGE, Precondition, Removed, Stat, Store, UploadOptions,
};
use timelocker::value::{Cancel, CancelReason, Kind, ObjectKey};

use crate::support::noise;
use crate::support::uploads::{Bytes, StepJournal, options};

/// Something that a store may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "peers"), allow(dead_code, reason = "some are lacking to servers of others alone"))]
pub enum Lack {
    /// Writes under `Precondition::Absent`.
    Absent,
    /// Writes under `Precondition::Unchanged`.
    Unchanged,
    /// Only one of two concurrent writers wins under a precondition.
    Race,
    /// Lists are in byte order of keys.
    Order,
    /// Objects can be locked.
    Lock,
    /// A key.
    Key(&'static str),
}

/// A store, and how the suite uses it.
pub struct Subject<'a> {
    pub store: Arc<dyn Store>,
    pub lacks: &'a [Lack],
    /// The longest key. The prefix of an S3 store counts too.
    pub longest_key: usize,
    /// Creates many objects of one byte.
    pub fill: &'a (dyn Fn(&dyn Store, &[String]) + Sync),
}

/// The longest key of the S3 stores: their prefix `some/where/` counts.
pub const LONGEST_S3_KEY: usize = 1_013;

pub fn dir(path: &Path) -> Arc<dyn Store> {
    (Kind::find(KINDS, "dir").unwrap().build)(json!({ "path": path }).into()).unwrap().into()
}

pub fn never() -> Cancel {
    Cancel::default()
}

pub fn key(text: &str) -> ObjectKey {
    ObjectKey::listed(text).unwrap()
}

pub fn id(text: &str) -> ObjectId {
    ObjectId::latest(key(text))
}

pub fn write(store: &dyn Store, name: &str, bytes: &[u8]) -> ObjectId {
    store.write(&key(name), bytes, &Precondition::None, &never()).unwrap()
}

pub fn stat(store: &dyn Store, name: &str) -> Option<Stat> {
    store.stat(&id(name), &never()).unwrap()
}

pub fn content(store: &dyn Store, name: &str) -> Vec<u8> {
    store.read(&id(name), 0..1 << 20, &never()).unwrap().to_vec()
}

/// All pages of a list.
pub fn listed(store: &dyn Store, prefix: &str) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(prefix, after.as_ref(), &never()).unwrap();
        assert!(page.entries.len() <= PAGE);
        keys.extend(page.entries.into_iter().map(|entry| entry.key.to_string()));
        match page.next {
            None => return keys,
            next => after = next,
        }
    }
}

/// Writes objects of one byte from eight threads.
pub fn fill(store: &dyn Store, names: &[String]) {
    std::thread::scope(|scope| {
        for names in names.chunks(names.len().div_ceil(8)) {
            scope.spawn(move || names.iter().for_each(|name| drop(write(store, name, b"x"))));
        }
    });
}

impl Subject<'_> {
    pub fn conforms(&self) {
        self.keeps_what_is_written();
        self.reads_ranges();
        self.keeps_preconditions();
        self.lets_one_writer_win();
        self.takes_names_of_every_sort();
        self.lists_in_pages();
        self.removes();
        self.keeps_locked_objects();
        self.can_be_cancelled();
    }

    fn lacks(&self, what: Lack) -> bool {
        self.lacks.contains(&what)
    }

    fn keeps_what_is_written(&self) {
        let store = self.store.as_ref();
        assert_eq!(stat(store, "whole/a"), None);
        for missing in
            [store.read(&id("whole/a"), 0..1, &never()).map(drop), store.open(&id("whole/a"), &never()).map(drop)]
        {
            assert!(matches!(missing, Err(Error::NoObject { .. })), "{missing:?}");
        }
        let large = noise(3 << 20, 1);
        for bytes in [&b""[..], b"x", &large] {
            let written = write(store, "whole/a", bytes);
            let found = store.stat(&written, &never()).unwrap().unwrap();
            assert_eq!(found.size, bytes.len() as u64);
            assert!(found.etag.is_some() && found.version == written.version, "{found:?}");
            let mut back = Vec::new();
            store.open(&written, &never()).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{} bytes came back as {}", bytes.len(), back.len());
        }
    }

    fn reads_ranges(&self) {
        let store = self.store.as_ref();
        let bytes = noise(1_000, 2);
        write(store, "range/a", &bytes);
        for (from, to) in
            [(0, 0), (5, 5), (0, 1), (1, 2), (998, 999), (999, 1_000), (0, 1_000), (0, 1_001), (999, 5_000)]
        {
            let expected = &bytes[from.min(1_000)..to.min(1_000)];
            let read = store.read(&id("range/a"), from as u64..to as u64, &never()).unwrap();
            assert!(read == expected, "{from}..{to}: {} bytes", read.len());
        }
        for past in [1_000..1_001, 5_000..6_000] {
            assert!(store.read(&id("range/a"), past.clone(), &never()).unwrap().is_empty(), "{past:?}");
        }
        write(store, "range/empty", b"");
        assert!(store.read(&id("range/empty"), 0..10, &never()).unwrap().is_empty());
        assert_eq!(store.read(&id("range/a"), 0..LARGEST_READ, &never()).unwrap().len(), 1_000);
        assert!(store.read(&id("range/a"), 0..LARGEST_READ + 1, &never()).is_err());
    }

    fn etag(&self, name: &str) -> ETag {
        stat(self.store.as_ref(), name).unwrap().etag.unwrap()
    }

    fn keeps_preconditions(&self) {
        let store = self.store.as_ref();
        let (name, when) = (key("when/a"), Precondition::Absent);
        let first = store.write(&name, b"one", &when, &never());
        if self.lacks(Lack::Absent) {
            assert!(matches!(first, Err(Error::NoPrecondition { .. })), "it has it by now: {first:?}");
        } else {
            first.unwrap();
            let second = store.write(&name, b"two", &when, &never());
            assert!(matches!(second, Err(Error::Exists { .. })), "{second:?}");
            assert_eq!(content(store, "when/a"), b"one");
        }
        write(store, "when/b", b"one");
        let stale = self.etag("when/b");
        let first = store.write(&key("when/b"), b"two", &Precondition::Unchanged(stale.clone()), &never());
        if self.lacks(Lack::Unchanged) {
            assert!(first.is_err(), "it has it by now: {first:?}");
            return;
        }
        first.unwrap();
        assert_eq!(content(store, "when/b"), b"two");
        for (name, etag) in [("when/b", stale.clone()), ("when/missing", stale)] {
            let late = store.write(&key(name), b"late", &Precondition::Unchanged(etag), &never());
            assert!(matches!(late, Err(Error::Changed { .. })), "{name}: {late:?}");
        }
        assert_eq!(content(store, "when/b"), b"two");
        assert_eq!(stat(store, "when/missing"), None);
    }

    /// Runs two writers at once. Returns how many won.
    fn winners(&self, name: &str, when: &Precondition) -> usize {
        let barrier = Barrier::new(2);
        let writers = [b"left!", b"right"].map(|bytes| (bytes, &barrier));
        let results = std::thread::scope(|scope| {
            let threads = writers.map(|(bytes, barrier)| {
                scope.spawn(move || {
                    barrier.wait();
                    self.store.write(&key(name), bytes, when, &never())
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        for result in &results {
            let lost = matches!(result, Err(Error::Exists { .. } | Error::Changed { .. }));
            assert!(lost || result.is_ok(), "{result:?}");
        }
        results.iter().filter(|result| result.is_ok()).count()
    }

    fn lets_one_writer_win(&self) {
        let mut most = 0;
        for round in 0..20 {
            let name = format!("race/{round}");
            if !self.lacks(Lack::Absent) {
                most = most.max(self.winners(&name, &Precondition::Absent));
            }
            if !self.lacks(Lack::Unchanged) {
                write(self.store.as_ref(), &name, b"first");
                let etag = self.etag(&name);
                most = most.max(self.winners(&name, &Precondition::Unchanged(etag)));
            }
        }
        // Twenty rounds without a second winner prove nothing.
        assert!(most <= 1 || self.lacks(Lack::Race), "{most} writers won a race");
    }

    fn takes_names_of_every_sort(&self) {
        let store = self.store.as_ref();
        let deep = format!("names/{}", vec!["d".repeat(100); 12].join("/"));
        let deep = deep[..self.longest_key].trim_end_matches('/').to_owned();
        let long = format!("names/{}", "x".repeat(240));
        let wide = format!("names/{}", "ü".repeat(120));
        let mut names: Vec<String> = NAMES.iter().map(|name| format!("names/{name}")).collect();
        names.extend([deep, long, wide]);
        let (mut expected, mut wrong) = (BTreeSet::new(), Vec::new());
        for name in names {
            let written = store.write(&key(&name), name.as_bytes(), &Precondition::None, &never());
            let is_kept = written.is_ok() && stat(store, &name).is_some() && content(store, &name) == name.as_bytes();
            let is_listed = listed(store, &name).contains(&name);
            let lacks = self.lacks.iter().any(|lack| matches!(lack, Lack::Key(key) if name == format!("names/{key}")));
            if (is_kept && is_listed) == lacks {
                wrong.push(format!("{name}: {written:?}, kept {is_kept}, listed {is_listed}, lacking {lacks}"));
            }
            if !lacks {
                expected.insert(name);
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let found: BTreeSet<String> = listed(store, "names/").into_iter().collect();
        assert_eq!(found.intersection(&expected).count(), expected.len(), "{found:?}");
        for name in expected {
            assert_eq!(store.remove(&id(&name), &never()).unwrap(), Removed::Removed, "{name}");
            assert_eq!(stat(store, &name), None, "{name}");
        }
    }

    fn lists_in_pages(&self) {
        let store = self.store.as_ref();
        let mut names: Vec<String> = (0..2_500).map(|number| format!("page/{}/{number:04}", number % 7)).collect();
        // These sort between the others by bytes, but not in a tree.
        names.extend(["page/3-", "page/3.", "page/3a", "page.x", "pag"].map(str::to_owned));
        (self.fill)(store, &names);
        names.sort();
        let below = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).cloned().collect::<Vec<_>>();
        let mut is_ordered = true;
        for prefix in ["page/", "page/3", "page/3/", "page/3/00", "page/6/2498", "pag", "page/9"] {
            let found = listed(store, prefix);
            let mut sorted = found.clone();
            sorted.sort();
            is_ordered &= found == sorted;
            let expected = below(prefix);
            let differs = sorted.iter().zip(&expected).find(|(found, expected)| found != expected);
            assert!(sorted == expected, "{prefix}: {} of {}, {differs:?}", found.len(), expected.len());
        }
        assert_ne!(is_ordered, self.lacks(Lack::Order), "whether it lists in the order of bytes");
        let in_order = listed(store, "page/");
        let first = store.list("page/", None, &never()).unwrap();
        assert!(first.next.is_some() && first.skipped == 0 && first.entries.iter().all(|entry| entry.size == 1));
        // An object that is removed between two pages does not disturb the others.
        store.remove(&ObjectId::latest(first.entries.last().unwrap().key.clone()), &never()).unwrap();
        let second = store.list("page/", first.next.as_ref(), &never()).unwrap();
        assert_eq!(second.entries.first().unwrap().key.as_str(), in_order[first.entries.len()]);
    }

    fn removes(&self) {
        let store = self.store.as_ref();
        assert_eq!(store.remove(&id("gone/a"), &never()).unwrap(), Removed::WasGone);
        let (first, second) = (write(store, "gone/a", b"one"), write(store, "gone/a", b"two"));
        if first.version.is_some() {
            // Removing one version removes no other.
            assert_eq!(store.remove(&first, &never()).unwrap(), Removed::Removed);
            assert_eq!(store.remove(&first, &never()).unwrap(), Removed::WasGone);
            assert_eq!(content(store, "gone/a"), b"two");
        }
        assert_eq!(store.remove(&id("gone/a"), &never()).unwrap(), Removed::Removed);
        assert_eq!(stat(store, "gone/a"), None);
        assert_eq!(store.remove(&id("gone/a"), &never()).unwrap(), Removed::WasGone);
        if second.version.is_some() {
            assert_eq!(store.read(&second, 0..9, &never()).unwrap(), &b"two"[..], "it was hidden, and is kept");
        }
    }

    fn keeps_locked_objects(&self) {
        let store = self.store.as_ref();
        let until = Timestamp::from_second(Timestamp::now().as_second() + 3_600).unwrap();
        let lock = Some(Lock { retention: Some((LockMode::Compliance, until)), legal_hold: false });
        let (bytes, journal) = (b"locked", StepJournal::default());
        let options = UploadOptions { lock, ..options(true) };
        let mut body = Bytes::new(bytes);
        let uploaded = store.upload(&key("lock/a"), &mut body, &options, &journal, &never());
        if self.lacks(Lack::Lock) {
            assert!(uploaded.is_err(), "it has it by now: {uploaded:?}");
            return;
        }
        let version = uploaded.unwrap().version;
        for object in [ObjectId { key: key("lock/a"), version }, id("lock/a")] {
            let removed = store.remove(&object, &never()).unwrap();
            let Removed::Locked(Some(found)) = removed else { panic!("{removed:?}") };
            assert!(found.duration_since(until).abs() < SignedDuration::from_secs(2), "{found} {until}");
            assert_eq!(content(store, "lock/a"), bytes);
        }
    }

    fn can_be_cancelled(&self) {
        let store = self.store.as_ref();
        write(store, "cancel/a", b"one");
        let cancel = never();
        let mut reader = store.open(&id("cancel/a"), &cancel).unwrap();
        cancel.cancel(CancelReason::Requested);
        let is_cancelled =
            |result: Result<(), Error>| assert!(matches!(result, Err(Error::Cancelled { .. })), "{result:?}");
        is_cancelled(reader.read_to_end(&mut Vec::new()).map(drop).map_err(|error| Error::from_io("", error)));
        is_cancelled(store.stat(&id("cancel/a"), &cancel).map(drop));
        is_cancelled(store.read(&id("cancel/a"), 0..1, &cancel).map(drop));
        is_cancelled(store.open(&id("cancel/a"), &cancel).map(drop));
        is_cancelled(store.write(&key("cancel/a"), b"two", &Precondition::None, &cancel).map(drop));
        is_cancelled(store.list("", None, &cancel).map(drop));
        is_cancelled(store.remove(&id("cancel/a"), &cancel).map(drop));
        assert_eq!(content(store, "cancel/a"), b"one");
    }
}

const NAMES: &[&str] = &[
    "a b",
    " lead",
    "trail ",
    "a+b",
    "a%2Fb",
    "%",
    "100%25",
    "a&b<c>\"d'",
    "a?b#c=d",
    "a\\b",
    "a:b|c*d",
    ".hidden",
    "..two",
    "...",
    "-x",
    "~",
    "@",
    "$(x)",
    "ü/ö",
    "é",
    "e\u{301}",
    "日本/語",
    "🔒",
    "a/b/c/d",
    "day=2026-11-28/run.tar.age",
];

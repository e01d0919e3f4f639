use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
#[cfg(feature = "peers")]
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::tree;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use tempfile::TempDir;
use timelocker::source::{self, Pattern, Selection};
use timelocker::stages::archive::{Error, Observer, Options, Summary, write};

/// Collects warnings and acts when content is read.
#[derive(Default)]
struct Watch<'a> {
    warnings: RefCell<Vec<(PathBuf, String)>>,
    read: Cell<u64>,
    /// Called once, after the first buffer.
    meanwhile: RefCell<Option<Box<dyn FnOnce() + 'a>>>,
    cancel_after: Option<u64>,
}

impl Observer for Watch<'_> {
    fn progress(&self, bytes: u64) {
        self.read.set(self.read.get() + bytes);
        if let Some(act) = self.meanwhile.take() {
            act();
        }
    }

    fn warn(&self, path: &Path, reason: String) {
        self.warnings.borrow_mut().push((path.to_owned(), reason));
    }

    fn note(&self, text: String) {
        assert!(text.starts_with("note: "));
    }

    fn cancelled(&self) -> bool {
        self.cancel_after.is_some_and(|limit| self.read.get() >= limit)
    }
}

impl<'a> Watch<'a> {
    fn meanwhile(act: impl FnOnce() + 'a) -> Self {
        Self { meanwhile: RefCell::new(Some(Box::new(act))), ..Self::default() }
    }

    /// The warnings, each as `NAME REASON`.
    fn said(&self) -> Vec<String> {
        let warnings = self.warnings.borrow();
        warnings.iter().map(|(path, reason)| format!("{} {reason}", path.file_name().unwrap().display())).collect()
    }
}

/// A folder for trees on the disk that builds use: other file systems may lack attributes.
fn place() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn options(base: &Path, sources: &[&str]) -> Options {
    let sources = sources.iter().map(PathBuf::from).collect();
    let selection = Selection { sources, base: base.to_owned(), ..Selection::default() };
    Options { selection, allow_empty: true, ..Options::default() }
}

/// The same without what these patterns leave out.
fn without(base: &Path, sources: &[&str], patterns: &[&str]) -> Options {
    let mut options = options(base, sources);
    options.selection.exclude = patterns.iter().map(|text| Pattern::of(text, "exclude")).collect();
    options
}

/// An archive without warnings.
fn archive(options: &Options) -> (Vec<u8>, Summary) {
    let watch = Watch::default();
    let mut bytes = Vec::new();
    let summary = write(options, &mut bytes, &watch).unwrap();
    assert_eq!(watch.said(), Vec::<String>::new());
    assert_eq!(summary.skipped, 0);
    (bytes, summary)
}

/// Path, kind, content and extended header of each entry.
struct Stored {
    kind: tar::EntryType,
    content: Vec<u8>,
    target: Option<Vec<u8>>,
    header: tar::Header,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Every entry, in order. Checks that each byte of the archive belongs to an entry or is zero.
///
/// It parses pax records itself: the tar crate ends one at the first newline in its value.
fn read(bytes: &[u8]) -> Vec<(String, Stored)> {
    assert_eq!(bytes.len() % 10_240, 0);
    assert!(bytes.ends_with(&[0; 1024]));
    let mut archive = tar::Archive::new(bytes);
    let mut entries = Vec::new();
    let mut records = BTreeMap::new();
    let mut end = 0_u64;
    for entry in archive.entries().unwrap().raw(true) {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        end = (entry.raw_file_position() + content.len() as u64).next_multiple_of(512);
        if entry.header().entry_type() == tar::EntryType::XHeader {
            records = parse_records(&content);
            continue;
        }
        let records = std::mem::take(&mut records);
        let record = |key: &str| records.get(key.as_bytes()).cloned();
        let path = record("GNU.sparse.name").or_else(|| record("path")).unwrap_or_else(|| entry.path_bytes().to_vec());
        let stored = Stored {
            kind: entry.header().entry_type(),
            content,
            target: record("linkpath").or_else(|| entry.link_name_bytes().map(|target| target.to_vec())),
            header: entry.header().clone(),
            records,
        };
        entries.push((path.escape_ascii().to_string(), stored));
    }
    assert!(bytes[usize::try_from(end).unwrap()..].iter().all(|&byte| byte == 0));
    entries
}

fn parse_records(mut body: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    while !body.is_empty() {
        let space = body.iter().position(|&byte| byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&body[..space]).unwrap().parse().unwrap();
        let (key, value) = {
            let text = body[space + 1..length].strip_suffix(b"\n").unwrap();
            text.split_at(text.iter().position(|&byte| byte == b'=').unwrap())
        };
        assert!(records.insert(key.to_vec(), value[1..].to_vec()).is_none(), "{} twice", key.escape_ascii());
        body = &body[length..];
    }
    records
}

fn paths(bytes: &[u8]) -> Vec<String> {
    read(bytes).into_iter().map(|(path, _)| path).collect()
}

#[cfg(feature = "peers")]
#[test]
fn ten_thousand_odd_files_survive_stock_tar() {
    assert!(crate::support::is_root(), "owners and devices can be restored by root alone");
    let place = place();
    let files = 10_000;
    tree::build(&place.path().join("tree"), files);
    let before = tree::snapshot(&place.path().join("tree"));

    let path = place.path().join("archive.tar");
    let watch = Watch::default();
    let summary = write(&options(place.path(), &["tree"]), &mut File::create(&path).unwrap(), &watch).unwrap();
    assert_eq!(watch.said(), Vec::<String>::new());
    assert_eq!((summary.files, summary.skipped), (files as u64, 0));
    assert_eq!(summary.bytes, watch.read.get());
    let size = path.metadata().unwrap().len();
    assert!(size < 40 << 20, "holes were stored: {size}");

    let restored = place.path().join("restored");
    fs::create_dir(&restored).unwrap();
    let tar = std::process::Command::new("tar")
        // Otherwise it warns that the years 1969 and 2040 are implausible, even in its own archives.
        .args(["--warning=no-timestamp", "--xattrs", "--xattrs-include=*", "--same-owner", "-xpf"])
        .arg(&path)
        .arg("-C")
        .arg(&restored)
        .env("LC_ALL", "C")
        .output()
        .expect("the feature `peers` needs GNU tar");
    assert_eq!(String::from_utf8_lossy(&tar.stderr), "");
    assert!(tar.status.success());
    tree::compare(&before, &tree::snapshot(&restored.join("tree")));
    let sparse = restored.join("tree/sparse/vm.img").metadata().unwrap();
    assert_eq!(sparse.len(), tree::SPARSE);
    assert!(sparse.blocks() * 512 < 1 << 20);
}

#[test]
fn every_entry_is_stored_as_it_is() {
    let place = place();
    let root = place.path().join("tree");
    tree::build(&root, 400);
    let snapshot = tree::snapshot(&root);
    let (bytes, summary) = archive(&options(place.path(), &["tree"]));
    let entries = read(&bytes);
    assert_eq!(entries.len(), snapshot.len());
    assert_eq!(summary.files, 400);
    let names = snapshot.values().filter_map(|entry| entry.group.as_ref());
    let (further, groups) = (names.clone().count(), names.collect::<BTreeSet<_>>().len());
    let links = entries.iter().filter(|(_, stored)| stored.kind == tar::EntryType::Link).count();
    assert_eq!(links, further - groups, "each file is stored once");
    let stored: BTreeMap<_, _> = entries.into_iter().collect();
    for (path, entry) in &snapshot {
        let slash: &[u8] = if entry.kind == 'd' { b"/" } else { b"" };
        let middle: &[u8] = if path.is_empty() { b"" } else { b"/" };
        let name = [b"tree", middle, path, slash].concat().escape_ascii().to_string();
        let found = stored.get(&name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(found.header.mode().unwrap(), entry.mode, "{name}");
        check_kind(&name, entry, found);
        check_time(&name, entry, found);
        if found.kind != tar::EntryType::Link {
            let attributes = entry.attributes.values().cloned().collect::<Vec<_>>();
            let found = found.records.iter().filter(|(key, _)| key.starts_with(b"SCHILY.xattr."));
            let mut found: Vec<_> = found.map(|(_, value)| value.clone()).collect();
            let mut attributes = attributes;
            attributes.sort();
            found.sort();
            assert_eq!(found, attributes, "{name}");
        }
    }
}

fn check_kind(name: &str, entry: &tree::Entry, found: &Stored) {
    match (entry.kind, found.kind) {
        ('d', tar::EntryType::Directory) | ('p', tar::EntryType::Fifo) => {}
        ('l', tar::EntryType::Symlink) => assert_eq!(found.target, entry.target, "{name}"),
        ('f' | 'l', tar::EntryType::Link) => assert!(entry.group.is_some(), "{name}"),
        ('f', tar::EntryType::Regular) => {
            if let Some(size) = found.records.get(&b"GNU.sparse.realsize"[..]) {
                assert_eq!(*size, entry.size.to_string().as_bytes(), "{name}");
            } else {
                assert_eq!(found.content.len() as u64, entry.size, "{name}");
                assert!(entry.size < 1 << 20 || entry.allocated > entry.size / 2, "{name}: its holes are stored");
            }
        }
        (kind, stored) => panic!("{name} is {kind} and stored as {stored:?}"),
    }
}

fn check_time(name: &str, entry: &tree::Entry, found: &Stored) {
    let (seconds, nanoseconds) = entry.mtime;
    let time = found.records.get(&b"mtime"[..]).map_or_else(
        || i128::from(found.header.mtime().unwrap()) * 1_000_000_000,
        |text| {
            let text = std::str::from_utf8(text).unwrap();
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let sign = if text.starts_with('-') { -1 } else { 1 };
            let fraction: i128 = fraction.parse().unwrap();
            whole.parse::<i128>().unwrap() * 1_000_000_000 + sign * fraction
        },
    );
    assert_eq!(time, i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds), "{name}");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let place = place();
    let names: Vec<_> = (0..200).map(|number| format!("{}/{number}", number % 7)).collect();
    let make = |root: &Path, names: &mut dyn Iterator<Item = &String>| {
        for name in names {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
            tree::set_time(&root.join(name), 1_700_000_000, 5);
        }
        for directory in 0..7 {
            tree::set_time(&root.join(directory.to_string()), 1_700_000_000, 6);
        }
        tree::set_time(root, 1_700_000_000, 7);
    };
    let (one, other) = (place.path().join("one/tree"), place.path().join("other/tree"));
    make(&one, &mut names.iter());
    make(&other, &mut names.iter().rev());
    let (first, _) = archive(&options(one.parent().unwrap(), &["tree"]));
    let (again, _) = archive(&options(one.parent().unwrap(), &["tree"]));
    let (reordered, _) = archive(&options(other.parent().unwrap(), &["tree"]));
    assert!(first == again, "two runs differ");
    assert!(first == reordered, "the order of creation shows");
}

/// Archives a file `b` of 1 MiB between others, while something happens to it.
fn interrupted(happens: impl FnOnce(&Path)) -> (Vec<(String, Stored)>, Vec<String>, Summary) {
    let place = place();
    let base = place.path();
    fs::create_dir(base.join("d")).unwrap();
    fs::write(base.join("d/b"), vec![b'x'; 1 << 20]).unwrap();
    fs::write(base.join("d/c"), "after").unwrap();
    let watch = Watch::meanwhile(|| happens(&base.join("d")));
    let mut bytes = Vec::new();
    let summary = write(&options(base, &["d"]), &mut bytes, &watch).unwrap();
    (read(&bytes), watch.said(), summary)
}

fn content<'a>(entries: &'a [(String, Stored)], path: &str) -> &'a [u8] {
    &entries.iter().find(|(name, _)| name == path).unwrap_or_else(|| panic!("{path} is missing")).1.content
}

#[test]
fn a_file_that_shrinks_is_filled_with_zeros() {
    let (entries, said, summary) =
        interrupted(|d| File::options().write(true).open(d.join("b")).unwrap().set_len(300_000).unwrap());
    assert_eq!(said, ["b shrank while being read; zeros stand for what was behind byte 300000"]);
    let b = content(&entries, "d/b");
    assert_eq!(b.len(), 1 << 20);
    assert!(b[..300_000].iter().all(|&byte| byte == b'x') && b[300_000..].iter().all(|&byte| byte == 0));
    assert_eq!(content(&entries, "d/c"), b"after");
    assert_eq!((summary.files, summary.skipped), (2, 0));
}

#[test]
fn a_file_that_grows_is_stored_as_long_as_promised() {
    let (entries, said, _) = interrupted(|d| {
        File::options().append(true).open(d.join("b")).unwrap().write_all(&[b'y'; 10_000]).unwrap();
    });
    assert_eq!(said, ["b grew while being read; its first 1048576 bytes are stored"]);
    assert_eq!(content(&entries, "d/b"), vec![b'x'; 1 << 20]);
    assert_eq!(content(&entries, "d/c"), b"after");
}

#[test]
fn a_file_that_changes_is_reported() {
    let (entries, said, _) = interrupted(|d| tree::set_time(&d.join("b"), 1, 0));
    assert_eq!(said, ["b changed while being read"]);
    assert_eq!(content(&entries, "d/c"), b"after");
}

#[test]
fn a_file_that_vanishes_before_its_turn_is_left_out() {
    let (entries, said, summary) = interrupted(|d| fs::remove_file(d.join("c")).unwrap());
    assert_eq!(said, ["c vanished while being archived"]);
    assert_eq!(entries.len(), 2);
    assert_eq!((summary.files, summary.skipped), (1, 1));
}

#[test]
fn a_file_deleted_while_it_is_read_is_whole() {
    let (entries, said, _) = interrupted(|d| fs::remove_file(d.join("b")).unwrap());
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(content(&entries, "d/b"), vec![b'x'; 1 << 20]);
}

#[test]
fn what_became_a_link_is_not_followed() {
    let (entries, _, _) = interrupted(|d| {
        fs::remove_file(d.join("c")).unwrap();
        symlink("/etc", d.join("c")).unwrap();
    });
    assert_eq!(entries.last().unwrap().1.kind, tar::EntryType::Symlink);
    assert_eq!(entries.len(), 3);
}

#[test]
fn sockets_hold_no_data() {
    let place = place();
    let directory = place.path().join("d");
    fs::create_dir(&directory).unwrap();
    // Through a short path: a socket's path is limited to 108 bytes.
    let home = File::open(&directory).unwrap();
    let path = format!("/proc/self/fd/{}/socket", home.as_raw_fd());
    let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    assert!(directory.join("socket").symlink_metadata().unwrap().file_type().is_socket());
    let watch = Watch::default();
    let mut bytes = Vec::new();
    let summary = write(&options(place.path(), &["d"]), &mut bytes, &watch).unwrap();
    assert_eq!(watch.said(), [""; 0]);
    assert_eq!((summary.files, summary.skipped), (0, 0));
    assert_eq!(paths(&bytes), ["d/"]);
}

#[test]
fn excluded_entries_are_not_there() {
    let place = place();
    let base = place.path();
    for file in ["a/b/cache/x", "a/cache", "a/keep.txt", "a/old.tmp", "a/.git/config", "a/b/target/debug/x", "a/b/z"] {
        fs::create_dir_all(base.join(file).parent().unwrap()).unwrap();
        fs::write(base.join(file), "").unwrap();
    }
    let absolute = base.join("a/b/z").to_str().unwrap().to_owned();
    let with = |patterns: &[&str]| {
        let (bytes, summary) = archive(&without(base, &["a"], patterns));
        assert_eq!(summary.skipped, 0);
        paths(&bytes).into_iter().filter(|path| !path.ends_with('/')).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(with(&[]), "a/.git/config a/b/cache/x a/b/target/debug/x a/b/z a/cache a/keep.txt a/old.tmp");
    assert_eq!(with(&["cache"]), "a/.git/config a/b/target/debug/x a/b/z a/keep.txt a/old.tmp");
    assert_eq!(with(&["cache/", ".git"]), "a/b/target/debug/x a/b/z a/cache a/keep.txt a/old.tmp");
    assert_eq!(with(&["*.tmp", "**/target/*", "b/cache"]), "a/.git/config a/b/z a/cache a/keep.txt");
    assert_eq!(with(&[&absolute, "/b/c*", "/?eep.*"]), "a/.git/config a/b/target/debug/x a/cache a/old.tmp");
    assert_eq!(with(&["/*"]), "");
    assert_eq!(with(&["/b/*", "!/b/z", "!cache"]), "a/.git/config a/b/cache/x a/b/z a/cache a/keep.txt a/old.tmp");
}

#[test]
fn a_wrong_pattern_is_named() {
    let place = place();
    let options = without(place.path(), &["."], &["fine", "[a"]);
    let error = write(&options, &mut io::sink(), &Watch::default()).unwrap_err();
    assert_eq!(error.to_string(), "the pattern `[a` of `exclude` is not valid: unclosed character class; missing ']'");
}

#[test]
fn what_two_sources_reach_is_archived_once() {
    let place = place();
    let base = place.path();
    fs::create_dir_all(base.join("a/b")).unwrap();
    fs::write(base.join("a/b/f"), "").unwrap();
    fs::write(base.join("a/g"), "").unwrap();
    let all = ["a/", "a/b/", "a/b/f", "a/g"];
    for sources in [&["a"][..], &["a", "a"], &["a/b", "a"], &["a", "a/b/f", "./a/b/"]] {
        assert_eq!(paths(&archive(&options(base, sources)).0), all, "{sources:?}");
    }
    assert_eq!(paths(&archive(&options(base, &["a/g", "a/b"])).0), ["a/b/", "a/b/f", "a/g"]);
    // A pattern that excludes a path from one source does not exclude it as a source of its own.
    let (bytes, _) = archive(&without(base, &["a", "a/b/f"], &["/b"]));
    assert_eq!(paths(&bytes), ["a/", "a/g", "a/b/f"]);
}

#[test]
fn names_follow_the_source() {
    let place = place();
    fs::write(place.path().join("f"), "x").unwrap();
    assert_eq!(paths(&archive(&options(place.path(), &["f"])).0), ["f"]);
    assert_eq!(paths(&archive(&options(place.path(), &["."])).0), ["./", "./f"]);
    let absolute = place.path().join("f");
    let absolute = absolute.to_str().unwrap();
    assert_eq!(paths(&archive(&options(Path::new("/"), &[absolute])).0), [&absolute[1..]]);
    assert_eq!(archive(&options(place.path(), &[])).0, [0; 10_240]);
}

#[test]
fn sources_are_promises() {
    let place = place();
    symlink("f", place.path().join("link")).unwrap();
    let run = |sources: &[&str]| {
        let mut bytes = Vec::new();
        let result = write(&options(place.path(), sources), &mut bytes, &Watch::default());
        assert!(bytes.is_empty(), "written before the sources were checked");
        result.unwrap_err()
    };
    assert!(matches!(run(&[".", "none"]), Error::Source(source::Error::Missing(path)) if path == Path::new("none")));
    assert!(matches!(run(&["a/../b"]), Error::Source(source::Error::Bad { path, .. }) if path == Path::new("a/../b")));
    let watch = Watch::default();
    write(&options(place.path(), &["link"]), &mut io::sink(), &watch).unwrap();
    assert_eq!(watch.said(), ["link is a symbolic link: its target is not archived"]);
}

#[test]
fn cancelling_stops_it() {
    let place = place();
    fs::write(place.path().join("large"), vec![1; 4 << 20]).unwrap();
    let watch = Watch { cancel_after: Some(1 << 20), ..Watch::default() };
    let error = write(&options(place.path(), &["."]), &mut io::sink(), &watch).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert_eq!(watch.read.get(), 1 << 20);
}

#[test]
fn an_output_that_fails_is_an_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let place = place();
    fs::write(place.path().join("large"), vec![1; 1 << 20]).unwrap();
    // The last of them fails when the buffer is flushed.
    for room in [0, 1_000_000, (1 << 20) + 5_000] {
        let error = write(&options(place.path(), &["."]), &mut Full(room), &Watch::default()).unwrap_err();
        assert!(matches!(&error, Error::Write(cause) if cause.kind() == io::ErrorKind::StorageFull), "{error:?}");
    }
}

#[test]
fn three_thousand_directories_deep() {
    let place = place();
    let depth = 3_000;
    let open = |parent: &OwnedFd, name: &str| openat(parent, name, OFlags::RDONLY, Mode::empty()).unwrap();
    // No path is short enough for this depth, neither here nor when it is removed.
    let mut here: OwnedFd = File::open(place.path()).unwrap().into();
    for _ in 0..depth {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = open(&here, "d");
    }
    openat(&here, "bottom", OFlags::CREATE, Mode::RUSR).unwrap();
    fs::write(place.path().join("d/z"), "back up").unwrap();

    let (bytes, summary) = archive(&options(place.path(), &["d"]));
    let entries = read(&bytes);
    assert_eq!((entries.len(), summary.files), (depth + 2, 2));
    assert_eq!(content(&entries, &format!("{}bottom", "d/".repeat(depth))), b"");
    assert_eq!(entries.last().unwrap().0, "d/z");

    unlinkat(&here, "bottom", AtFlags::empty()).unwrap();
    for _ in 1..depth {
        here = open(&here, "..");
        unlinkat(&here, "d", AtFlags::REMOVEDIR).unwrap();
    }
}

#[cfg(feature = "peers")]
#[test]
fn other_file_systems_are_entered_when_asked_for() {
    let base = tempfile::tempdir().unwrap();
    let _disk = crate::support::Disk::new(&base.path().join("tree/disk"), "1m");
    fs::write(base.path().join("tree/disk/file"), "x").unwrap();
    let stored = |sources: &[&str], one_file_system| {
        let mut options = options(base.path(), sources);
        options.selection.one_file_system = one_file_system;
        let mut bytes = Vec::new();
        write(&options, &mut bytes, &Watch::default()).unwrap();
        read(&bytes).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(stored(&["tree"], true), ["tree/", "tree/disk/"]);
    for (sources, one_file_system) in [(&["tree"][..], false), (&["tree", "tree/disk"], true)] {
        assert_eq!(stored(sources, one_file_system), ["tree/", "tree/disk/", "tree/disk/file"]);
    }
}

#[test]
fn a_device_is_stored_as_one() {
    let mut bytes = Vec::new();
    write(&options(Path::new("/"), &["/dev/null"]), &mut bytes, &Watch::default()).unwrap();
    let (name, null) = &read(&bytes)[0];
    assert_eq!((name.as_str(), null.kind), ("dev/null", tar::EntryType::Char));
    assert_eq!((null.header.device_major().unwrap(), null.header.device_minor().unwrap()), (Some(1), Some(3)));
}

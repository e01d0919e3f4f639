//! A tree with everything that a file system can contain, and the means to compare two trees.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, SeekFrom, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lsetxattr,
    mknodat, seek, utimensat,
};
use sha2::{Digest, Sha256};

use crate::support::is_root;

/// The size of `sparse/vm.img`.
pub const SPARSE: u64 = 1 << 30;

/// Creates a tree of this many files, links and fifos below `root`, which must not exist: each oddity once, the rest
/// ordinary. Owners, capabilities, `trusted.*` attributes and an unreadable file only as root.
///
/// Panics on a file system without extended attributes: without them, the test would prove too little.
pub fn build(root: &Path, files: usize) {
    let mut tree = Tree { root: root.to_owned(), made: 0 };
    fs::create_dir(root).unwrap();
    tree.names();
    tree.long_paths();
    tree.links();
    tree.contents();
    tree.modes();
    tree.times();
    tree.attributes();
    assert!(tree.made <= files, "the odd files alone are {}", tree.made);
    let ordinary = files - tree.made;
    for number in 0..ordinary {
        tree.file(
            format!("bulk/{:03}/{number:05}.txt", number / 100),
            format!("content of {number}\n").repeat(number % 40),
        );
    }
    tree.directory_times();
}

struct Tree {
    root: PathBuf,
    made: usize,
}

impl Tree {
    fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let path = self.root.join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Sets a different time for each file, with nanoseconds.
    fn touch(&mut self, path: &Path) {
        self.made += 1;
        let made = i64::try_from(self.made).unwrap();
        set_time(path, 1_600_000_000 + made * 1_009, made * 7_654_321 % 1_000_000_000);
    }

    fn file(&mut self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        self.touch(&path);
        path
    }

    fn link(&mut self, name: impl AsRef<OsStr>, target: impl AsRef<Path>) {
        let path = self.path(name);
        symlink(target, &path).unwrap();
        self.touch(&path);
    }

    fn names(&mut self) {
        let longest = "n".repeat(255);
        let longest_utf8 = "\u{e9}".repeat(127);
        for name in [
            "caf\u{e9} composed".as_bytes(),
            "cafe\u{301} decomposed".as_bytes(),
            "\u{1f512} 日本語 ñ".as_bytes(),
            longest.as_bytes(),
            longest_utf8.as_bytes(),
            b"new\nline",
            b"tab\tand\rreturn",
            b"-rf",
            b"--checkpoint-action=exec=sh",
            b"back\\slash",
            b"quote\"and'apostrophe",
            b" leading and trailing ",
            b"star*and?and[a]",
            b"$HOME `id` ;&|",
            b"caf\xe9 latin",
            b"\xff\xfe\x80",
            "division\u{2215}slash\u{ff0f}".as_bytes(),
            b"...",
            b".hidden",
            b"~",
            b"%25",
            b"=",
            b"\x01\x7f",
        ] {
            self.file(OsString::from_vec([b"names/", name].concat()), name);
        }
        let raw = [0xe9; 200];
        self.file(OsString::from_vec([&b"names/"[..], &raw].concat()), "raw and long");
    }

    /// Sizes around the limits of ustar's fields, and far beyond.
    fn long_paths(&mut self) {
        for length in [85, 86, 87, 88, 89, 90, 91, 150, 250] {
            self.file(format!("paths/short/{}", "p".repeat(length)), "limit of a name");
            self.file(format!("paths/{}/{}", "d".repeat(length), "p".repeat(99)), "limit of a prefix");
        }
        self.file(format!("paths/{}", [&*"e".repeat(249); 4].join("/")), "a thousand bytes");
        self.file(format!("paths/{}x", "y/".repeat(200)), "two hundred deep");
    }

    fn links(&mut self) {
        let first = self.file("hard/a/first", "three names");
        for name in ["hard/a/second", "hard/0/earlier", "zz-last/third"] {
            let path = self.path(name);
            fs::hard_link(&first, path).unwrap();
            self.made += 1;
        }
        let long = self.file(format!("hard/{}", "h".repeat(200)), "a long name to link to");
        fs::hard_link(long, self.path("hard/zz")).unwrap();
        self.made += 1;
        self.link("links/relative", "../hard/a/first");
        self.link("links/dangling", "nowhere/at all");
        self.link("links/absolute", "/etc/hostname");
        self.link("links/directory", "../hard");
        self.link("links/up", "../../..");
        self.link("links/long", "t".repeat(300));
        self.link("links/limit", "t".repeat(100));
        self.link("links/raw", OsStr::from_bytes(b"caf\xe9"));
        self.link("links/utf8", "caf\u{e9}");
        fs::hard_link(self.path("links/dangling"), self.path("links/dangling again")).unwrap();
        self.made += 1;
    }

    fn contents(&mut self) {
        fs::create_dir_all(self.root.join("empty/within")).unwrap();
        for size in [0, 1, 511, 512, 513, 4096, 10_240, 262_144, 262_145, 1_000_000] {
            let content: Vec<u8> = (0..size).map(|at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
            self.file(format!("sizes/{size}"), content);
        }
        self.sparse("sparse/vm.img", SPARSE, &[0, SPARSE / 2 + 4096, SPARSE - 5000]);
        self.sparse("sparse/hole at the end", 10 << 20, &[0, 1 << 20]);
        self.sparse("sparse/hole alone", 100 << 20, &[]);
        self.sparse(format!("sparse/{}", "s".repeat(180)), 8 << 20, &[4 << 20]);
        self.sparse("sparse/many holes", 16 << 20, &(0..128).map(|at| at << 17).collect::<Vec<_>>());
        let fifo = self.path("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        self.touch(&fifo);
    }

    fn sparse(&mut self, name: impl AsRef<OsStr>, size: u64, data: &[u64]) {
        let path = self.path(name);
        let file = File::create_new(&path).unwrap();
        file.set_len(size).unwrap();
        for &at in data {
            file.write_all_at(format!("data at {at}").repeat(100).as_bytes(), at).unwrap();
        }
        self.touch(&path);
        let allocated = file.metadata().unwrap().blocks() * 512;
        assert!(allocated < size / 2, "{} has no holes: use another file system for tests", path.display());
    }

    fn modes(&mut self) {
        for mode in [0o4755, 0o2755, 0o6711, 0o600, 0o444, 0o777, 0o7] {
            let path = self.file(format!("modes/{mode:o}"), "");
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        for mode in [0o1777, 0o2775, 0o500, 0o700] {
            self.file(format!("modes/d{mode:o}/in it"), "");
            fs::set_permissions(self.path(format!("modes/d{mode:o}")), Permissions::from_mode(mode)).unwrap();
        }
        if is_root() {
            let path = self.file("modes/0", "root reads this");
            fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap();
            for (uid, gid) in [(1, 2), (12_345, 54_321), (3_000_000, 4_000_000_000)] {
                let path = self.file(format!("modes/owned by {uid}"), "");
                lchown(&path, Some(uid), Some(gid)).unwrap();
                self.link(format!("modes/link owned by {uid}"), "x");
                lchown(self.path(format!("modes/link owned by {uid}")), Some(uid), Some(gid)).unwrap();
            }
        }
    }

    fn times(&mut self) {
        for (name, seconds, nanoseconds) in [
            ("1970", 0, 0),
            ("1970 and a nanosecond", 0, 1),
            ("1969", -1, 999_999_999),
            ("1969 whole", -86_400, 0),
            ("1950", -631_152_000, 123_456_789),
            ("2040", 2_208_988_800, 987_654_321),
            ("2200", 7_258_118_400, 100),
            ("2300", 10_413_792_000, 0),
        ] {
            let path = self.file(format!("times/{name}"), name);
            set_time(&path, seconds, nanoseconds);
            self.link(format!("times/link of {name}"), "x");
            set_time(&self.path(format!("times/link of {name}")), seconds, nanoseconds);
        }
    }

    fn attributes(&mut self) {
        let path = self.file("attributes/user", "");
        set_attribute(&path, "user.binary", b"\0\n=\xff binary \0");
        set_attribute(&path, "user.empty", b"");
        set_attribute(&path, "user.a=b%c", b"an equals sign");
        set_attribute(&path, "user.\u{e9}", "\u{e9}".as_bytes());
        set_attribute(&self.file("attributes/large", "x"), "user.large", &[b'v'; 2000]);
        let path = self.file("attributes/acl", "");
        set_attribute(&path, "system.posix_acl_access", &acl(0o4));
        let path = self.path("attributes/directory/x").parent().unwrap().to_owned();
        set_attribute(&path, "user.of a directory", b"yes");
        set_attribute(&path, "system.posix_acl_access", &acl(0o5));
        // A restore must not let this file inherit it.
        let path = self.file("attributes/default/in it", "").parent().unwrap().to_owned();
        set_attribute(&path, "system.posix_acl_default", &acl(0o7));
        if is_root() {
            // Revision 2, effective, CAP_NET_BIND_SERVICE permitted.
            let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            set_attribute(&self.file("attributes/capable", "x"), "security.capability", &capability);
            set_attribute(&self.file("attributes/trusted", "x"), "trusted.note", b"root alone sees this");
            self.link("attributes/link", "x");
            set_attribute(&self.path("attributes/link"), "trusted.of a link", b"yes");
        }
    }

    /// Runs last and bottom-up, because creating a file in a directory changes the directory's time.
    fn directory_times(&self) {
        let mut directories = vec![self.root.clone()];
        let mut next = 0;
        while let Some(directory) = directories.get(next).cloned() {
            directories.extend(children(&directory).into_iter().filter(|path| path.is_dir() && !path.is_symlink()));
            next += 1;
        }
        for (number, directory) in directories.iter().enumerate().rev() {
            let number = i64::try_from(number).unwrap();
            set_time(directory, 1_500_000_000 + number, number * 1_000_003 % 1_000_000_000);
        }
    }
}

/// Sets the time of modification, of a link itself, too.
pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|error| {
        panic!("{} takes no attribute `{name}` ({error}): use another file system for tests", path.display())
    });
}

/// `u::rw-, u:1234:r--, g::r--, m::MASK, o::---` as Linux stores it.
fn acl(mask: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 6_u16, NOBODY), (2, 4, 1234), (4, 4, NOBODY), (16, mask, NOBODY), (32, 0, NOBODY)]
    {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

fn children(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The properties of one entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `f`, `d`, `l`, `p`, `c`, `b` or `s`.
    pub kind: char,
    /// Permissions, set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Bytes. 0 for directories, whose size means nothing.
    pub size: u64,
    /// SHA-256 of a file's 4 KiB blocks that are not all zero, each preceded by its number. Holes thus cost nothing.
    pub content: Option<[u8; 32]>,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// The first path of a file with several names.
    pub group: Option<Vec<u8>>,
    /// Extended attributes.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes on disk.
    pub allocated: u64,
}

/// Everything below `root` by relative path. `root` itself has the empty path.
pub fn snapshot(root: &Path) -> BTreeMap<Vec<u8>, Entry> {
    let mut entries = BTreeMap::new();
    let mut inodes = BTreeMap::<(u64, u64), Vec<Vec<u8>>>::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        if metadata.is_dir() {
            waiting.extend(children(&path));
        } else if metadata.nlink() > 1 {
            inodes.entry((metadata.dev(), metadata.ino())).or_default().push(relative.clone());
        }
        entries.insert(relative, entry(&path, &metadata));
    }
    for mut paths in inodes.into_values() {
        paths.sort();
        for path in &paths {
            entries.get_mut(path).unwrap().group = Some(paths[0].clone());
        }
    }
    entries
}

fn entry(path: &Path, metadata: &fs::Metadata) -> Entry {
    let kind = metadata.file_type();
    Entry {
        kind: match () {
            () if kind.is_dir() => 'd',
            () if kind.is_symlink() => 'l',
            () if kind.is_fifo() => 'p',
            () if kind.is_char_device() => 'c',
            () if kind.is_block_device() => 'b',
            () if kind.is_socket() => 's',
            () => 'f',
        },
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        size: if kind.is_dir() { 0 } else { metadata.len() },
        content: kind.is_file().then(|| digest(path, metadata.len())),
        target: kind.is_symlink().then(|| fs::read_link(path).unwrap().into_os_string().into_vec()),
        group: None,
        attributes: attributes(path),
        allocated: metadata.blocks() * 512,
    }
}

fn digest(path: &Path, size: u64) -> [u8; 32] {
    let file = File::open(path).unwrap();
    let mut hash = Sha256::new();
    let mut block = [0; 4096];
    let mut at = 0;
    while at < size {
        match seek(&file, SeekFrom::Data(at)) {
            Ok(data) => at = data / 4096 * 4096,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => panic!("{}: {error}", path.display()),
        }
        let length = usize::try_from(size - at).unwrap().min(block.len());
        file.read_exact_at(&mut block[..length], at).unwrap();
        if block[..length].iter().any(|&byte| byte != 0) {
            hash.update(at.to_le_bytes());
            hash.update(&block[..length]);
        }
        at += 4096;
    }
    hash.finalize().into()
}

fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 65_536];
    let length = llistxattr(path, &mut list[..]).map_err(io::Error::from).unwrap();
    list[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = lgetxattr(path, CString::new(name).unwrap(), &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// Panics unless `after` equals `before`. Disk usage may be smaller, or slightly larger.
pub fn compare(before: &BTreeMap<Vec<u8>, Entry>, after: &BTreeMap<Vec<u8>, Entry>) {
    let mut report = String::new();
    let mut differences = 0;
    let mut differ = |path: &[u8], what: String| {
        differences += 1;
        if differences <= 20 {
            writeln!(report, "  {}: {what}", path.escape_ascii()).unwrap();
        }
    };
    for (path, old) in before {
        let Some(new) = after.get(path) else {
            differ(path, "is missing".to_owned());
            continue;
        };
        if new.allocated > old.allocated + 65_536 {
            differ(path, format!("takes {} bytes of disk instead of {}", new.allocated, old.allocated));
        }
        let new = Entry { allocated: old.allocated, ..new.clone() };
        if *old != new {
            differ(path, changes(old, &new));
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        differ(path, "is new".to_owned());
    }
    assert!(differences == 0, "{differences} differences in {} entries:\n{report}", before.len());
}

/// The lines in which two entries differ.
fn changes(old: &Entry, new: &Entry) -> String {
    let (old, new) = (format!("{old:#?}"), format!("{new:#?}"));
    let gone: Vec<_> = old.lines().filter(|line| !new.lines().any(|other| other == *line)).map(str::trim).collect();
    let come: Vec<_> = new.lines().filter(|line| !old.lines().any(|other| other == *line)).map(str::trim).collect();
    format!("was {} and is {}", gone.join(" "), come.join(" "))
}

#[test]
fn two_trees_are_compared_in_every_respect() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = directory.path().join("tree");
    build(&root, 300);
    let before = snapshot(&root);
    compare(&before, &before);
    let files = before.values().filter(|entry| entry.kind != 'd').count();
    assert_eq!(files, 300);
    let path = before.iter().find(|(_, entry)| entry.kind == 'f' && !entry.attributes.is_empty()).unwrap().0;
    for change in [
        (|entry| entry.mode ^= 1) as fn(&mut Entry),
        |entry| entry.uid += 1,
        |entry| entry.mtime.1 += 1,
        |entry| entry.content = None,
        |entry| entry.group = Some(vec![]),
        |entry| entry.attributes.clear(),
        |entry| entry.allocated += 1 << 20,
    ] {
        let mut after = before.clone();
        change(after.get_mut(path).unwrap());
        assert!(std::panic::catch_unwind(|| compare(&before, &after)).is_err());
    }
}

use std::os::unix::ffi::OsStrExt;

use tar::EntryType;

use super::acl;
use super::header::{OCTAL_7, OCTAL_11, Records, beside, decimal, needs_encoding, put, split, ustar};
use super::sparse::Map;
use super::xattr::Attributes;
use crate::source::{Meta, Owner, Time};

/// The kind of an entry, with what only that kind has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    /// A file: its content of this number of bytes follows.
    File(u64),
    /// A file with holes: its map of this number of bytes follows, then its data.
    Sparse(&'a Map, u64),
    /// A hard link to the file stored under this path.
    HardLink(&'a [u8]),
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
    Directory,
    Fifo,
    CharacterDevice,
    BlockDevice,
}

/// One entry of an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Its path in the archive. A directory's path ends in `/`.
    pub(super) path: &'a [u8],
    pub(super) body: Body<'a>,
    pub(super) meta: &'a Meta,
    pub(super) owner: &'a Owner,
    pub(super) attributes: &'a Attributes,
}

impl Entry<'_> {
    /// The headers, in whole blocks.
    pub(super) fn headers(&self) -> Vec<u8> {
        let mut records = Records::default();
        let header = self.header(&mut records);
        for (name, value) in self.attributes {
            records.add(&attribute_keyword(name), value);
            if let Some((keyword, text)) = acl::keyword(name).zip(acl::text(value)) {
                records.add(keyword, text.as_bytes());
            }
        }
        let mut blocks = records.blocks(self.path);
        blocks.extend_from_slice(header.as_bytes());
        blocks
    }

    fn header(&self, records: &mut Records) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(self.body.entry_type());
        self.path(&mut header, records);
        header.set_mode(self.meta.mode);
        header.set_uid(records.clamp("uid", self.meta.uid.into(), OCTAL_7));
        header.set_gid(records.clamp("gid", self.meta.gid.into(), OCTAL_7));
        header.set_size(records.clamp("size", self.body.stored(), OCTAL_11));
        header.set_mtime(time(self.meta.mtime, records));
        let fields = ustar(&mut header);
        if let Body::HardLink(target) | Body::Symlink(target) = self.body {
            records.text("linkpath", target, &mut fields.linkname);
        }
        owner("uname", self.owner.user.as_bytes(), &mut fields.uname, records);
        owner("gname", self.owner.group.as_bytes(), &mut fields.gname, records);
        if let Body::CharacterDevice | Body::BlockDevice = self.body {
            // Linux has 12 bits of major and 20 of minor numbers; seven octal digits hold both.
            fields.set_device_major(self.meta.node.0);
            fields.set_device_minor(self.meta.node.1);
        } else {
            fields.set_device_major(0);
            fields.set_device_minor(0);
        }
        header.set_cksum();
        header
    }

    fn path(&self, header: &mut tar::Header, records: &mut Records) {
        let mut path = self.path;
        let shown;
        if let Body::Sparse(map, _) = self.body {
            // Readers that do not know this format extract map and data under a name that says so.
            shown = beside(path, b"GNUSparseFile.0");
            records.add(b"GNU.sparse.major", b"1");
            records.add(b"GNU.sparse.minor", b"0");
            records.add(b"GNU.sparse.name", path);
            records.add(b"GNU.sparse.realsize", map.size().to_string().as_bytes());
            path = &shown;
        }
        let fields = ustar(header);
        match split(path) {
            Some((prefix, name)) if !needs_encoding(path) => {
                put(&mut fields.prefix, prefix);
                put(&mut fields.name, name);
            }
            _ => {
                records.add(b"path", path);
                put(&mut fields.name, path);
            }
        }
    }
}

impl Body<'_> {
    fn entry_type(self) -> EntryType {
        match self {
            Self::File(_) | Self::Sparse(..) => EntryType::Regular,
            Self::HardLink(_) => EntryType::Link,
            Self::Symlink(_) => EntryType::Symlink,
            Self::Directory => EntryType::Directory,
            Self::Fifo => EntryType::Fifo,
            Self::CharacterDevice => EntryType::Char,
            Self::BlockDevice => EntryType::Block,
        }
    }

    /// The number of bytes after the headers, before padding.
    fn stored(self) -> u64 {
        match self {
            Self::File(size) => size,
            Self::Sparse(map, text) => text + map.stored(),
            _ => 0,
        }
    }
}

/// The value of the field. A pax record holds times that whole seconds from 1970 to 2242 cannot express.
fn time(time: Time, records: &mut Records) -> u64 {
    let field = u64::try_from(time.seconds).unwrap_or(0).min(OCTAL_11);
    if time.nanoseconds != 0 || i64::try_from(field) != Ok(time.seconds) {
        records.add(b"mtime", decimal(time).as_bytes());
    }
    field
}

/// Owner names end in a zero byte even when they fill the field.
fn owner(keyword: &str, name: &[u8], field: &mut [u8; 32], records: &mut Records) {
    records.text(keyword, name, &mut field[..31]);
}

/// Escapes as GNU tar does: a keyword ends at the first `=`, so `=` and the escape character itself are escaped.
fn attribute_keyword(name: &[u8]) -> Vec<u8> {
    let mut keyword = b"SCHILY.xattr.".to_vec();
    for &byte in name {
        match byte {
            b'%' => keyword.extend_from_slice(b"%25"),
            b'=' => keyword.extend_from_slice(b"%3D"),
            byte => keyword.push(byte),
        }
    }
    keyword
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Id;
    use rustix::fs::FileType;
    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::sync::Arc;

    fn meta() -> Meta {
        Meta {
            kind: FileType::RegularFile,
            mode: 0o640,
            uid: 1000,
            gid: 1000,
            size: 0,
            allocated: 0,
            mtime: Time { seconds: 1_700_000_000, nanoseconds: 0 },
            links: 1,
            id: Id { device: 1, inode: 1 },
            node: (0, 0),
        }
    }

    fn headers(path: &[u8], body: Body<'_>, meta: &Meta, user: &str) -> Vec<u8> {
        let owner = Owner { user: Arc::from(OsStr::new(user)), group: Arc::from(OsStr::new("staff")) };
        Entry { path, body, meta, owner: &owner, attributes: &Attributes::new() }.headers()
    }

    /// The records of the extended header, and the header after it.
    fn parse(blocks: &[u8]) -> (BTreeMap<String, Vec<u8>>, tar::Header) {
        let mut records = BTreeMap::new();
        let header = tar::Header::from_byte_slice(blocks.last_chunk::<512>().unwrap()).clone();
        if blocks.len() > 512 {
            let size = usize::try_from(tar::Header::from_byte_slice(&blocks[..512]).size().unwrap()).unwrap();
            for record in tar::PaxExtensions::new(&blocks[512..512 + size]) {
                let record = record.unwrap();
                records.insert(record.key().unwrap().to_owned(), record.value_bytes().to_vec());
            }
        }
        (records, header)
    }

    #[test]
    fn an_ordinary_file_needs_one_block() {
        let blocks = headers(b"srv/orders", Body::File(10), &meta(), "ann");
        assert_eq!(blocks.len(), 512);
        assert_eq!(&blocks[257..265], b"ustar\x0000");
        let (_, header) = parse(&blocks);
        assert_eq!(header.path_bytes().as_ref(), b"srv/orders");
        assert_eq!((header.size().unwrap(), header.mode().unwrap()), (10, 0o640));
        assert_eq!(header.username_bytes(), Some(&b"ann"[..]));
    }

    #[test]
    fn what_ustar_cannot_say_is_a_record() {
        let large = Meta { uid: 0o1000_0000, gid: u32::MAX - 1, ..meta() };
        let (records, header) = parse(&headers(b"f", Body::File(8 << 30), &large, "ann"));
        assert_eq!(records["uid"], b"2097152");
        assert_eq!(records["gid"], b"4294967294");
        assert_eq!(records["size"], b"8589934592");
        assert_eq!(header.entry_size().unwrap(), OCTAL_11);
        let (records, _) = parse(&headers(b"f", Body::File((8 << 30) - 1), &meta(), "ann"));
        assert!(records.is_empty(), "{records:?}");
        let (records, _) = parse(&headers(b"f", Body::File(0), &meta(), &"u".repeat(32)));
        assert_eq!(records["uname"], "u".repeat(32).as_bytes());
    }

    #[test]
    fn times_outside_the_field_are_records() {
        for (seconds, nanoseconds, record) in [
            (0, 0, None),
            (0, 1, Some("0.000000001")),
            (-1, 0, Some("-1")),
            (OCTAL_11.cast_signed(), 0, None),
            (OCTAL_11.cast_signed() + 1, 0, Some("8589934592")),
        ] {
            let meta = Meta { mtime: Time { seconds, nanoseconds }, ..meta() };
            let (records, _) = parse(&headers(b"f", Body::File(0), &meta, "ann"));
            assert_eq!(records.get("mtime").map(Vec::as_slice), record.map(str::as_bytes), "{seconds}");
        }
    }

    #[test]
    fn names_are_records_when_they_need_one() {
        for (path, record) in [
            (&b"plain"[..], false),
            (b"new\nline", false),
            ("caf\u{e9}".as_bytes(), true),
            (b"caf\xe9", false),
            (&[b'x'; 101], true),
            (&[0xe9; 101], true),
        ] {
            let (records, header) = parse(&headers(path, Body::File(0), &meta(), "ann"));
            assert_eq!(records.get("path").map(Vec::as_slice), record.then_some(path));
            assert_eq!(header.path_bytes().as_ref(), &path[..path.len().min(100)]);
            let (records, _) = parse(&headers(b"l", Body::Symlink(path), &meta(), "ann"));
            assert_eq!(records.get("linkpath").map(Vec::as_slice), record.then_some(path));
        }
    }

    #[test]
    fn attribute_names_may_contain_an_equals_sign() {
        assert_eq!(attribute_keyword(b"user.a=b%"), b"SCHILY.xattr.user.a%3Db%25");
    }
}

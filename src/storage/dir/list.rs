use std::os::fd::OwnedFd;
use std::str;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Dir;
use crate::storage::{Cursor, Entry, Error, PAGE, Page};
use crate::value::{Cancel, ObjectKey};

/// No key is longer, so nothing below a longer path has one.
const LONGEST_KEY: usize = 1_024;

/// One page of the files below a directory, in the order of the bytes of their keys.
///
/// Each page reads the folders on the way to its cursor again, and holds the names of one folder of each depth in memory. So no
/// state is left behind between pages, and a page costs the more the larger the folder is that it stands in.
pub(super) fn list(dir: &Dir, prefix: &str, after: Option<&Cursor>, abandoned: &Cancel) -> Result<Page, Error> {
    let after = after.map_or("", |cursor| &cursor.0);
    let mut walk =
        Walk { uri: dir.name(), prefix: prefix.as_bytes(), after: after.as_bytes(), abandoned, page: Page::default() };
    walk.folder(&dir.root()?, b"")?;
    Ok(walk.page)
}

struct Walk<'a> {
    uri: String,
    prefix: &'a [u8],
    after: &'a [u8],
    abandoned: &'a Cancel,
    page: Page,
}

impl Walk<'_> {
    /// Lists what is below a folder, whose path ends in `/`. Returns whether the page is full.
    fn folder(&mut self, folder: &OwnedFd, base: &[u8]) -> Result<bool, Error> {
        for (path, kind) in self.names(folder, base)? {
            self.abandoned.check().map_err(|_| Error::Cancelled { uri: self.uri.clone() })?;
            let is_full = if kind.is_dir() {
                self.subfolder(folder, base, &path)?
            } else {
                self.file(folder, base, &path, kind)?
            };
            if is_full {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The paths in a folder that may be part of the page, in order. Those of folders end in `/`, which puts `a-b` before `a/b`,
    /// as the bytes of the keys do.
    fn names(&self, folder: &OwnedFd, base: &[u8]) -> Result<Vec<(Vec<u8>, FileType)>, Error> {
        let failed = |errno: Errno| Error::from_io(&self.uri, errno.into());
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            // `lost+found` belongs to the file system, and only root may read it.
            let is_foreign = base.is_empty() && name == c"lost+found";
            if name == c"." || name == c".." || name.to_bytes().starts_with(b".tl-") || is_foreign {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    found => FileType::from_raw_mode(found.map_err(failed)?.st_mode),
                },
                kind => kind,
            };
            let end: &[u8] = if kind.is_dir() { b"/" } else { b"" };
            let path = [base, name.to_bytes(), end].concat();
            if self.may_hold(&path, kind.is_dir()) {
                names.push((path, kind));
            }
        }
        names.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        Ok(names)
    }

    /// Whether a path, or one below it, has the prefix and lies behind the cursor.
    fn may_hold(&self, path: &[u8], is_folder: bool) -> bool {
        let has_prefix = path.starts_with(self.prefix) || is_folder && self.prefix.starts_with(path);
        let is_behind = path > self.after || is_folder && self.after.starts_with(path);
        has_prefix && is_behind
    }

    fn subfolder(&mut self, folder: &OwnedFd, base: &[u8], path: &[u8]) -> Result<bool, Error> {
        if path.len() > LONGEST_KEY {
            self.page.skipped += 1;
            return Ok(false);
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(folder, &path[base.len()..path.len() - 1], flags, Mode::empty()) {
            Ok(inner) => self.folder(&inner, path),
            // It was replaced or removed meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(errno) => Err(Error::from_io(&self.uri, errno.into())),
        }
    }

    fn file(&mut self, folder: &OwnedFd, base: &[u8], path: &[u8], kind: FileType) -> Result<bool, Error> {
        if let Some(last) = self.page.entries.get(PAGE - 1) {
            self.page.next = Some(Cursor(last.key.to_string()));
            return Ok(true);
        }
        let key = str::from_utf8(path).ok().and_then(|path| ObjectKey::listed(path).ok()).filter(|_| kind.is_file());
        let Some(key) = key else {
            self.page.skipped += 1;
            return Ok(false);
        };
        match fs::statat(folder, &path[base.len()..], AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => self.page.entries.push(Entry { key, size: u64::try_from(found.st_size).unwrap_or_default() }),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::from_io(&self.uri, errno.into())),
        }
        Ok(false)
    }
}

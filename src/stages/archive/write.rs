use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, fadvise, fstat, openat, readlinkat, statat};
use rustix::io::{Errno, pread, retry_on_intr};
use tracing::debug;

use super::content::{self, BUFFER};
use super::entry::{Body, Entry};
use super::error::Error;
use super::options::{Observer, Options, Summary, note_unused};
use super::output::Output;
use super::sparse::{Extent, Map};
use super::xattr::{self, Attributes, Subject};
use crate::source::{
    self, Cursor, Filters, Id, Meta, Owners, Position, Source, Step, Walk, inside, list, open_directory, resolve,
    unreadable,
};

/// Writes an uncompressed tar archive of the sources to `out`.
///
/// Fails for invalid options, for a missing source, if no source can be read, if `out` fails, and if the observer
/// cancels. Anything else that cannot be read is reported to the observer, counted and left out.
pub fn write(options: &Options, out: &mut dyn Write, observer: &dyn Observer) -> Result<Summary, Error> {
    let selection = &options.selection;
    let (sources, mut unreadable) = resolve(selection)?;
    let filters = Filters::new(selection, &sources)?;
    let mut writer = Writer {
        out: Output::new(out),
        observer,
        filters: &filters,
        pending: Vec::new(),
        one_file_system: selection.one_file_system,
        never: selection.never.iter().map(|&(device, inode)| Id { device, inode }).collect(),
        waiting: sources.iter().map(|source| source.name.clone()).collect(),
        links: HashMap::new(),
        owners: Owners::default(),
        buffer: vec![0; BUFFER],
        summary: Summary::default(),
    };
    let mut any = false;
    for source in &sources {
        if writer.waiting.contains(&source.name) {
            let before = writer.summary;
            match writer.source(source) {
                Err(Error::Source(error @ source::Error::Unreadable { .. })) => unreadable.push(error),
                other => {
                    other?;
                    any = true;
                    let is_empty = writer.summary == before && source.root.is_dir();
                    if sources.len() > 1 && is_empty && !options.allow_empty {
                        writer.observer.warn(&source.given, "is a source and holds no file".to_owned());
                    }
                }
            }
        }
    }
    match unreadable.pop() {
        // If no source could be read, nothing was archived.
        Some(error) if !any => return Err(error.into()),
        last => unreadable.extend(last),
    }
    writer.report(unreadable);
    note_unused(observer, &filters.unused());
    is_enough(options, &writer.summary)?;
    writer.out.finish()?;
    Ok(writer.summary)
}

/// Fails before the archive is finished, so that nobody takes it.
fn is_enough(options: &Options, summary: &Summary) -> Result<(), Error> {
    let Summary { files, bytes, .. } = *summary;
    let too_little = if files == 0 && !options.allow_empty {
        "the sources hold no file".to_owned()
    } else if files < options.min_files {
        format!("the sources hold {files} files, and `min-files` is {}", options.min_files)
    } else if bytes < options.min_bytes {
        format!("the sources hold {bytes} bytes, and `min-bytes` is {}", options.min_bytes)
    } else {
        return Ok(());
    };
    Err(Error::TooLittle(too_little))
}

/// The state of one archive while it is written.
struct Writer<'a> {
    out: Output<'a>,
    observer: &'a dyn Observer,
    filters: &'a Filters,
    /// Headers of directories that are stored once something in them is, each with its path. Only where patterns choose files.
    pending: Vec<(Vec<u8>, Vec<u8>)>,
    one_file_system: bool,
    never: HashSet<Id>,
    /// The archive paths of the sources that the walk has not reached.
    waiting: HashSet<PathBuf>,
    links: HashMap<Id, Link>,
    owners: Owners,
    buffer: Vec<u8>,
    summary: Summary,
}

/// A stored file that has further names.
struct Link {
    first: Vec<u8>,
    /// The number of names still to come. At zero the file is forgotten, so memory holds only files with names to come.
    others: u64,
}

/// The current entry of the walk.
struct Place<'a> {
    walk: &'a Walk,
    name: &'a CStr,
    /// Its path on this machine.
    absolute: PathBuf,
    /// As its nearest source sees it.
    position: Position<'a>,
}

/// A directory to descend into.
struct Inside {
    directory: OwnedFd,
    id: Id,
    names: Vec<CString>,
}

/// Why an entry is not in the archive.
enum Miss {
    /// The entry holds no data, so nothing is missing without it.
    NoData,
    /// The entry cannot be stored. The archive goes on without it.
    Entry(io::Error),
    /// The archive cannot be finished.
    Fatal(Error),
}

impl From<Errno> for Miss {
    fn from(error: Errno) -> Self {
        Self::Entry(error.into())
    }
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl Writer<'_> {
    /// One unreadable source of several costs only itself.
    fn report(&mut self, unreadable: Vec<source::Error>) {
        for error in unreadable {
            let (path, why) = match error {
                source::Error::Unreadable { path, source } => {
                    (path, format!("is a source and cannot be read: {source}"))
                }
                source::Error::Missing(path) => (path, "is a source and vanished while being archived".to_owned()),
                other => (PathBuf::new(), other.to_string()),
            };
            self.summary.skipped += 1;
            self.observer.warn(&path, why);
        }
    }

    fn source(&mut self, source: &Source) -> Result<(), Error> {
        let (parent, name) = source.open_parent()?;
        let mut walk =
            Walk::new(parent, name, source.archived()).map_err(|error| unreadable(&source.given, error.into()))?;
        let mut cursor = Cursor::default();
        loop {
            if self.observer.cancelled() {
                return Err(Error::Cancelled);
            }
            match walk.step() {
                Step::End => return Ok(()),
                Step::Lost(count) => {
                    self.summary.skipped += count as u64;
                    let reason = format!("was moved while being archived; {count} of its entries are left out");
                    self.observer.warn(&source.anchor().join(inside(walk.path())), reason);
                }
                Step::Entry(name) => self.entry(&mut walk, &name, source, &mut cursor)?,
            }
        }
    }

    fn entry(&mut self, walk: &mut Walk, name: &CStr, source: &Source, cursor: &mut Cursor) -> Result<(), Error> {
        let path = inside(walk.path());
        let is_root = path == source.name;
        // Joining an empty path would append a slash.
        let absolute = if is_root { source.root.clone() } else { source.anchor().join(path) };
        self.waiting.remove(path);
        let place = Place { position: cursor.go(self.filters, path), walk, name, absolute };
        match self.visit(&place) {
            Ok(None) => Ok(()),
            Ok(Some(Inside { directory, id, names })) => {
                walk.enter(directory, id, names);
                Ok(())
            }
            Err(Miss::Fatal(error)) => Err(error),
            Err(Miss::NoData) if place.position.is_source => {
                self.lost_source(unreadable(&place.absolute, io::Error::other("it is a socket")), is_root)
            }
            Err(Miss::NoData) => {
                debug!(path = %place.absolute.display(), "a socket holds no data");
                Ok(())
            }
            Err(Miss::Entry(error)) if place.position.is_source => {
                self.lost_source(unreadable(&place.absolute, error), is_root)
            }
            Err(Miss::Entry(error)) => {
                self.summary.skipped += 1;
                let reason = match error.kind() {
                    io::ErrorKind::NotFound => "vanished while being archived".to_owned(),
                    _ => format!("cannot be archived: {error}"),
                };
                self.observer.warn(&place.absolute, reason);
                Ok(())
            }
        }
    }

    /// The root of a walk ends it. The source around another one goes on.
    fn lost_source(&mut self, error: source::Error, is_root: bool) -> Result<(), Error> {
        if is_root {
            return Err(error.into());
        }
        self.report(vec![error]);
        Ok(())
    }

    fn visit(&mut self, place: &Place<'_>) -> Result<Option<Inside>, Miss> {
        let meta = Meta::from(statat(place.walk.directory(), place.name, AtFlags::SYMLINK_NOFOLLOW)?);
        if self.filters.leaves_out(&place.position, meta.kind, meta.size).is_some() {
            if place.position.is_source && meta.kind == FileType::Directory {
                self.observer.warn(&place.absolute, "is a source, and a pattern excludes it".to_owned());
            }
            return Ok(None);
        }
        if meta.kind == FileType::Directory {
            return self.directory(place);
        }
        if !self.is_stored_as_link(place, &meta)? {
            let meta = self.leaf(place, meta)?;
            if meta.links > 1 {
                let link = Link { first: place.walk.path().to_vec(), others: meta.links - 1 };
                self.links.insert(meta.id, link);
            }
        }
        self.summary.files += 1;
        Ok(None)
    }

    /// Stores a further name of a stored file, as a hard link.
    fn is_stored_as_link(&mut self, place: &Place<'_>, meta: &Meta) -> Result<bool, Error> {
        if meta.links < 2 {
            return Ok(false);
        }
        let Some(mut link) = self.links.remove(&meta.id) else { return Ok(false) };
        self.headers(place.walk.path(), Body::HardLink(&link.first), meta, &Attributes::new())?;
        link.others -= 1;
        if link.others > 0 {
            self.links.insert(meta.id, link);
        }
        Ok(true)
    }

    fn directory(&mut self, place: &Place<'_>) -> Result<Option<Inside>, Miss> {
        let directory = open_directory(place.walk.directory(), place.name)?;
        let meta = Meta::from(fstat(&directory)?);
        if self.never.contains(&meta.id) {
            if place.position.is_source {
                let reason = "is a source, and holds what `tl` itself keeps: it is left out";
                self.observer.warn(&place.absolute, reason.to_owned());
            }
            return Ok(None);
        }
        let attributes = self.attributes(place, Subject::Open(directory.as_fd()));
        let path = [place.walk.path(), b"/"].concat();
        let is_pending = self.filters.takes_directories_with_content_only() && !place.position.is_source;
        if is_pending {
            let owner = self.owners.of(&meta);
            let entry =
                Entry { path: &path, body: Body::Directory, meta: &meta, owner: &owner, attributes: &attributes };
            self.pending.retain(|(above, _)| path.starts_with(above));
            let headers = entry.headers();
            self.pending.push((path, headers));
        } else {
            self.headers(&path, Body::Directory, &meta, &attributes)?;
        }
        // Only directories are checked: on overlayfs the device of a file may differ from that of its directory.
        if self.one_file_system && meta.id.device != place.walk.device() && !place.position.is_source {
            return Ok(None);
        }
        let (mut names, problem) = list(directory.as_fd());
        self.filters.keep_marker(directory.as_fd(), &mut names);
        if let Some(error) = problem {
            self.summary.skipped += 1;
            self.observer.warn(&place.absolute, format!("cannot be listed to its end: {error}"));
        }
        Ok(Some(Inside { directory, id: meta.id, names }))
    }

    /// Stores an entry that is not a directory. Returns the stored metadata, which may be newer than the listing.
    fn leaf(&mut self, place: &Place<'_>, meta: Meta) -> Result<Meta, Miss> {
        let target;
        let body = match meta.kind {
            FileType::RegularFile => return self.file(place),
            FileType::Symlink => {
                target = readlinkat(place.walk.directory(), place.name, Vec::new())?;
                if place.position.is_source {
                    self.observer.warn(&place.absolute, "is a symbolic link: its target is not archived".to_owned());
                }
                Body::Symlink(target.to_bytes())
            }
            FileType::Fifo => Body::Fifo,
            FileType::CharacterDevice => Body::CharacterDevice,
            FileType::BlockDevice => Body::BlockDevice,
            FileType::Socket => return Err(Miss::NoData),
            _ => return Err(Miss::Entry(io::Error::other("it is of a kind that no archive knows"))),
        };
        let attributes = self.attributes(place, Subject::Named(place.walk.directory(), place.name));
        self.headers(place.walk.path(), body, &meta, &attributes)?;
        Ok(meta)
    }

    fn file(&mut self, place: &Place<'_>) -> Result<Meta, Miss> {
        let file = File::from(openat(place.walk.directory(), place.name, FILE, Mode::empty())?);
        let meta = Meta::from(fstat(&file)?);
        if meta.kind != FileType::RegularFile {
            return Err(Miss::Entry(io::Error::other("it was replaced by something that is no file")));
        }
        let read_at = |buffer: &mut [u8], at| Ok(retry_on_intr(|| pread(&file, &mut *buffer, at))?);
        let may_have_holes = meta.allocated < meta.size;
        let settled = || content::settled(meta, read_at, || Ok(Meta::from(fstat(&file)?)));
        let settled = if may_have_holes { None } else { settled() };
        let (meta, held) = settled.map_or((meta, None), |(meta, held)| (meta, Some(held)));
        let attributes = self.attributes(place, Subject::Open(file.as_fd()));
        let map = if may_have_holes { Map::of(&file, meta.size) } else { None };
        let whole = [Extent { offset: 0, length: meta.size }];
        let (extents, stored) = if let Some(map) = &map {
            let text = map.text();
            self.headers(place.walk.path(), Body::Sparse(map, text.len() as u64), &meta, &attributes)?;
            self.out.put(&text)?;
            (map.extents(), map.stored())
        } else {
            self.headers(place.walk.path(), Body::File(meta.size), &meta, &attributes)?;
            (&whole[..], meta.size)
        };
        if stored > BUFFER as u64 {
            // The call is only a hint. If it fails, nothing is lost.
            fadvise(&file, 0, None, Advice::Sequential).ok();
        }
        let content = if let Some(held) = &held {
            let from_memory = |buffer: &mut [u8], at: u64| Ok(copy_from(held, at, buffer));
            content::copy(from_memory, extents, &mut self.buffer, &mut self.out, self.observer)?
        } else {
            content::copy(read_at, extents, &mut self.buffer, &mut self.out, self.observer)?
        };
        let content = content::look_behind(content, meta.size, read_at);
        // What did not change while it was read may change now.
        let after = if held.is_some() { meta } else { fstat(&file).map_or(meta, Meta::from) };
        if let Some(problem) = content.problem(&meta, &after) {
            self.observer.warn(&place.absolute, problem);
        }
        self.summary.bytes += stored;
        Ok(meta)
    }

    fn attributes(&self, place: &Place<'_>, subject: Subject<'_>) -> Attributes {
        xattr::read(subject).unwrap_or_else(|error| {
            self.observer.warn(&place.absolute, format!("is stored without extended attributes: {error}"));
            Attributes::new()
        })
    }

    fn headers(&mut self, path: &[u8], body: Body<'_>, meta: &Meta, attributes: &Attributes) -> Result<(), Error> {
        for (above, headers) in std::mem::take(&mut self.pending) {
            if path.starts_with(&above) {
                self.out.put(&headers)?;
            }
        }
        let owner = self.owners.of(meta);
        self.out.put(&Entry { path, body, meta, owner: &owner, attributes }.headers())
    }
}

/// Copies what is in memory from this offset on; returns how much that is.
fn copy_from(held: &[u8], at: u64, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(at).ok().and_then(|at| held.get(at..)).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    count
}

/// Opens a file without following a symbolic link, and without waiting on a fifo that was swapped in.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

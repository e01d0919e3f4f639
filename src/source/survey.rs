use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, fstat, statat};
use serde::Serialize;

use super::error::Error;
use super::filter::{Cursor, Filters};
use super::meta::{Id, Meta};
use super::selection::Selection;
use super::sources::{self, Source};
use super::walk::{Step, Walk, inside, list, open_directory};

/// What would be taken now, counted without opening a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Entries other than directories.
    pub files: u64,
    /// Bytes of regular files. A file with several names counts once.
    pub bytes: u64,
    /// Entries that could not be examined.
    pub unreadable: u64,
    /// Sources that do not exist.
    pub missing: Vec<PathBuf>,
    /// Whether a limit ended the count early.
    pub cut_short: bool,
}

/// One thing that a walk meets.
#[derive(Debug)]
pub enum Seen<'a> {
    /// An entry other than a directory that would be taken, and its bytes.
    Taken(&'a Path, u64),
    /// An entry that a rule leaves out.
    LeftOut(&'a Path, String),
    /// What cannot be examined: this many entries.
    Unreadable(&'a Path, u64),
    /// A source that does not exist.
    Missing(&'a Path),
    /// A pattern that decided about nothing.
    Unused(String),
}

/// The longest time to count.
const LONGEST: Duration = Duration::from_secs(5);
/// The most entries to count.
const MOST: u64 = 1_000_000;

/// Counts what would be taken, for a few seconds. Fails for a selection that cannot be taken.
pub fn survey(selection: &Selection) -> Result<Survey, Error> {
    let mut found = Survey::default();
    let until = Instant::now() + LONGEST;
    let mut entries = 0;
    let is_whole = each(selection, &mut |seen| {
        match seen {
            Seen::Taken(_, bytes) => (found.files, found.bytes) = (found.files + 1, found.bytes + bytes),
            Seen::LeftOut(..) | Seen::Unused(_) => {}
            Seen::Unreadable(_, count) => found.unreadable += count,
            Seen::Missing(path) => found.missing.push(path.to_owned()),
        }
        entries += 1;
        entries < MOST && Instant::now() < until
    })?;
    found.cut_short = !is_whole;
    Ok(found)
}

/// Walks through all that would be taken, and tells of each entry. Ends early, and returns `false`, once `tell` does. Fails for a
/// selection that cannot be taken.
pub fn each(selection: &Selection, tell: &mut dyn FnMut(Seen<'_>) -> bool) -> Result<bool, Error> {
    let mut selection = selection.clone();
    let mut goes_on = true;
    selection.sources.retain(|given| {
        let is_there = selection.base.join(given).symlink_metadata().is_ok();
        if !is_there {
            goes_on &= tell(Seen::Missing(given));
        }
        is_there
    });
    let (sources, unreadable) = sources::resolve(&selection)?;
    let filters = Filters::new(&selection, &sources)?;
    for error in &unreadable {
        if let Error::Unreadable { path, .. } = error {
            goes_on &= tell(Seen::Unreadable(path, 1));
        }
    }
    let waiting = sources.iter().map(|source| source.name.clone()).collect();
    let never = selection.never.iter().map(|&(device, inode)| Id { device, inode }).collect();
    let mut surveyor =
        Surveyor { selection: &selection, filters: &filters, waiting, never, links: HashSet::new(), tell };
    for source in &sources {
        // A source above it has met it already.
        let is_due = goes_on && surveyor.waiting.contains(&source.name);
        goes_on = goes_on && (!is_due || surveyor.source(source));
    }
    let unused = if goes_on { filters.unused() } else { Vec::new() };
    Ok(goes_on && unused.into_iter().all(|pattern| tell(Seen::Unused(pattern))))
}

struct Surveyor<'a> {
    selection: &'a Selection,
    filters: &'a Filters,
    /// The archive paths of the sources that no walk has met.
    waiting: HashSet<PathBuf>,
    never: HashSet<Id>,
    /// The files with several names that were met.
    links: HashSet<Id>,
    tell: &'a mut dyn FnMut(Seen<'_>) -> bool,
}

impl Surveyor<'_> {
    fn source(&mut self, source: &Source) -> bool {
        let walk = source.open_parent().and_then(|(parent, name)| {
            Walk::new(parent, name, source.archived()).map_err(|error| sources::unreadable(&source.given, error.into()))
        });
        let Ok(mut walk) = walk else { return (self.tell)(Seen::Unreadable(&source.root, 1)) };
        let (anchor, mut cursor) = (source.anchor(), Cursor::default());
        loop {
            let name = match walk.step() {
                Step::End => return true,
                Step::Lost(count) => {
                    if !(self.tell)(Seen::Unreadable(&anchor.join(inside(walk.path())), count as u64)) {
                        return false;
                    }
                    continue;
                }
                Step::Entry(name) => name,
            };
            let path = inside(walk.path());
            let position = cursor.go(self.filters, path);
            self.waiting.remove(path);
            let absolute = if path.as_os_str().is_empty() { anchor.clone() } else { anchor.join(path) };
            let Ok(stat) = statat(walk.directory(), &name, AtFlags::SYMLINK_NOFOLLOW) else {
                if !(self.tell)(Seen::Unreadable(&absolute, 1)) {
                    return false;
                }
                continue;
            };
            let meta = Meta::from(stat);
            let seen = match self.filters.leaves_out(&position, meta.kind, meta.size) {
                Some(rule) => Seen::LeftOut(&absolute, rule),
                None if meta.kind == FileType::Socket => Seen::LeftOut(&absolute, "a socket holds no data".to_owned()),
                None if meta.kind == FileType::Directory => {
                    match open_directory(walk.directory(), &name).and_then(|open| Ok((Meta::from(fstat(&open)?), open)))
                    {
                        Ok((meta, _)) if self.never.contains(&meta.id) => {
                            Seen::LeftOut(&absolute, "`tl` keeps its own files there".to_owned())
                        }
                        Ok((meta, _)) if self.is_elsewhere(&meta, walk.device()) && !position.is_source => {
                            Seen::LeftOut(&absolute, "`one-file-system`".to_owned())
                        }
                        Ok((meta, open)) => {
                            let (mut names, problem) = list(open.as_fd());
                            let rule = self.filters.keep_marker(open.as_fd(), &mut names);
                            walk.enter(open, meta.id, names);
                            match (rule, problem) {
                                (Some(rule), _) => Seen::LeftOut(&absolute, rule),
                                (None, Some(_)) => Seen::Unreadable(&absolute, 1),
                                (None, None) => continue,
                            }
                        }
                        Err(_) => Seen::Unreadable(&absolute, 1),
                    }
                }
                None if meta.kind == FileType::RegularFile && (meta.links < 2 || self.links.insert(meta.id)) => {
                    Seen::Taken(&absolute, meta.size)
                }
                None => Seen::Taken(&absolute, 0),
            };
            if !(self.tell)(seen) {
                return false;
            }
        }
    }

    fn is_elsewhere(&self, meta: &Meta, device: u64) -> bool {
        self.selection.one_file_system && meta.id.device != device
    }
}

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, fstat, statat};
use serde::Serialize;

use super::error::Error;
use super::exclude::{Candidate, Excludes};
use super::meta::Meta;
use super::options::Options;
use super::source;
use super::walk::{Step, Walk, list, open_directory};
use super::write::inside;

/// What an archive would contain now, counted without opening a file.
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

/// The longest time to count.
const LONGEST: Duration = Duration::from_secs(5);
/// The most entries to count.
const MOST: u64 = 1_000_000;

/// Walks the sources as [`write()`](super::write()) does, and counts. Fails for options that `write` would refuse.
pub(super) fn survey(options: &Options) -> Result<Survey, Error> {
    let mut found = Survey::default();
    let mut options = options.clone();
    options.sources.retain(|given| {
        let is_there = options.base.join(given).symlink_metadata().is_ok();
        if !is_there {
            found.missing.push(given.clone());
        }
        is_there
    });
    let excludes = Excludes::new(&options.exclude)
        .map_err(|(index, reason)| Error::Pattern { pattern: options.exclude[index].clone(), reason })?;
    let (sources, unreadable) = source::resolve(&options)?;
    found.unreadable += unreadable.len() as u64;
    let mut waiting: HashSet<PathBuf> = sources.iter().map(|source| source.name.clone()).collect();
    let mut seen = HashSet::new();
    let until = Instant::now() + LONGEST;
    let mut entries = 0;
    for source in &sources {
        // The outer source has already counted it.
        if !waiting.contains(&source.name) {
            continue;
        }
        let Ok(mut walk) = source.open_parent().and_then(|(parent, name)| {
            Walk::new(parent, name, source.archived()).map_err(|error| source::unreadable(&source.given, error.into()))
        }) else {
            found.unreadable += 1;
            continue;
        };
        let anchor = source.anchor();
        loop {
            if entries >= MOST || Instant::now() > until {
                found.cut_short = true;
                return Ok(found);
            }
            entries += 1;
            let name = match walk.next() {
                Step::End => break,
                Step::Lost(count) => {
                    found.unreadable += count as u64;
                    continue;
                }
                Step::Entry(name) => name,
            };
            let Ok(stat) = statat(walk.directory(), &name, AtFlags::SYMLINK_NOFOLLOW) else {
                found.unreadable += 1;
                continue;
            };
            let meta = Meta::from(stat);
            let path = inside(walk.path());
            let is_source = waiting.remove(path);
            let absolute = if path.as_os_str().is_empty() { anchor.clone() } else { anchor.join(path) };
            let directory = meta.kind == FileType::Directory;
            let name_in = path.file_name().map(Path::new);
            if excludes.matches(Candidate { name: name_in, archived: path, absolute: &absolute, directory }) {
                continue;
            }
            if !directory {
                found.files += 1;
                if meta.kind == FileType::RegularFile && (meta.links < 2 || seen.insert(meta.id)) {
                    found.bytes += meta.size;
                }
                continue;
            }
            match open_directory(walk.directory(), &name).and_then(|open| Ok((Meta::from(fstat(&open)?), open))) {
                Ok((meta, _)) if options.one_file_system && meta.id.device != walk.device() && !is_source => {}
                Ok((meta, open)) => {
                    let (names, problem) = list(open.as_fd());
                    found.unreadable += u64::from(problem.is_some());
                    walk.enter(open, meta.id, names);
                }
                Err(_) => found.unreadable += 1,
            }
        }
    }
    Ok(found)
}

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use serde::Serialize;

use super::error::Error;
use super::filter::{Cursor, Filters};
use super::selection::Selection;
use super::sources::{self, unreadable};
use super::walk::list;

/// Whether one path would be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It would be taken, through this source.
    Taken {
        /// The source as the user gave it.
        source: PathBuf,
    },
    /// A rule leaves it, or a folder above it, out.
    LeftOut {
        /// What the rule leaves out.
        at: PathBuf,
        /// The rule.
        rule: String,
    },
    /// It is below no source.
    Elsewhere,
    /// There is nothing of this name.
    Missing,
}

/// Why a path would be taken or left out. A relative path is relative to the base of the selection. Fails for a selection that
/// cannot be taken, and for a path that cannot be examined.
pub fn why(selection: &Selection, path: &Path) -> Result<Verdict, Error> {
    let (sources, _) = sources::resolve(selection)?;
    let filters = Filters::new(selection, &sources)?;
    // A walk follows no link below a source.
    let Some(absolute) = real(&selection.base.join(path)).map_err(|error| unreadable(path, error))? else {
        return Ok(Verdict::Missing);
    };
    let roots = sources.iter().map(|source| (source, source.real())).filter(|(_, root)| absolute.starts_with(root));
    // A source in another one is walked in any case.
    let Some((source, root)) = roots.max_by_key(|(_, root)| root.components().count()) else {
        return Ok(Verdict::Elsewhere);
    };
    let (mut at, mut archived, mut cursor) = (root.clone(), source.name.clone(), Cursor::default());
    let mut names = absolute.strip_prefix(&root).unwrap_or(Path::new("")).components();
    let mut device = None;
    loop {
        let about = match at.symlink_metadata() {
            Ok(about) => about,
            Err(error) if is_missing(&error) => return Ok(Verdict::Missing),
            Err(error) => return Err(unreadable(&at, error)),
        };
        let kind = FileType::from_raw_mode(about.mode());
        let id = (about.dev(), about.ino());
        let left_out = |rule| Ok(Verdict::LeftOut { at: at.clone(), rule });
        if let Some(rule) = filters.leaves_out(&cursor.go(&filters, &archived), kind, about.len()) {
            return left_out(rule);
        }
        if kind == FileType::Socket {
            return left_out("a socket holds no data".to_owned());
        }
        if about.is_dir() && selection.never.contains(&id) {
            return left_out("`tl` keeps its own files there".to_owned());
        }
        if about.is_dir() && selection.one_file_system && *device.get_or_insert(id.0) != id.0 {
            return left_out("`one-file-system`".to_owned());
        }
        let Some(name) = names.next() else { return Ok(Verdict::Taken { source: source.given.clone() }) };
        if about.is_dir() {
            let directory = std::fs::File::open(&at).map_err(|error| unreadable(&at, error))?;
            let (mut kept, _) = list(directory.as_fd());
            let rule = filters.keep_marker(directory.as_fd(), &mut kept);
            let is_marker = kept.iter().any(|kept| kept.to_bytes() == name.as_os_str().as_encoded_bytes());
            if let Some(rule) = rule.filter(|_| !is_marker) {
                return left_out(rule);
            }
        }
        at.push(name);
        archived.push(name);
    }
}

/// The path without symbolic links, except for its last part; `None` if there is nothing of this name.
fn real(path: &Path) -> io::Result<Option<PathBuf>> {
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, Some(name)),
        // Such as `/` and `a/..`.
        _ => (path, None),
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(Some(name.map_or_else(|| parent.clone(), |name| parent.join(name)))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

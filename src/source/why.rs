use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;
use serde::Serialize;

use super::error::Error;
use super::filter::{Candidate, Filters};
use super::selection::Selection;
use super::sources;
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
/// cannot be taken.
pub fn why(selection: &Selection, path: &Path) -> Result<Verdict, Error> {
    let (sources, _) = sources::resolve(selection)?;
    let filters = Filters::new(selection, &sources)?;
    let absolute: PathBuf = selection.base.join(path).components().filter(|part| *part != Component::CurDir).collect();
    // The nearest source: each is walked by itself.
    let below = sources.iter().filter(|source| absolute.starts_with(&source.root));
    let Some(source) = below.max_by_key(|source| source.root.components().count()) else {
        return Ok(Verdict::Elsewhere);
    };
    let filter = filters.of(&source.name);
    let Ok(root) = source.root.symlink_metadata() else { return Ok(Verdict::Missing) };
    let (mut at, mut rest) = (source.root.clone(), PathBuf::new());
    let names = absolute.strip_prefix(&source.root).unwrap_or(Path::new("")).components();
    let mut left_out = filter.leaves_out(Candidate { path: &rest, kind: kind_of(&root), size: root.len() });
    for name in names {
        if let Some(rule) = left_out {
            return Ok(Verdict::LeftOut { at, rule });
        }
        if let Ok(directory) = std::fs::File::open(&at) {
            let (mut names, _) = list(directory.as_fd());
            let rule = filter.keep_marker(directory.as_fd(), &mut names);
            let is_marker = names.iter().any(|kept| kept.to_bytes() == name.as_os_str().as_encoded_bytes());
            if let Some(rule) = rule.filter(|_| !is_marker) {
                return Ok(Verdict::LeftOut { at, rule });
            }
        }
        (at, rest) = (at.join(name), rest.join(name));
        let Ok(about) = at.symlink_metadata() else { return Ok(Verdict::Missing) };
        let is_elsewhere = selection.one_file_system && about.is_dir() && device(&about) != device(&root);
        let rule = is_elsewhere.then(|| "`one-file-system`".to_owned());
        left_out =
            rule.or_else(|| filter.leaves_out(Candidate { path: &rest, kind: kind_of(&about), size: about.len() }));
    }
    Ok(match left_out {
        Some(rule) => Verdict::LeftOut { at, rule },
        None => Verdict::Taken { source: source.given.clone() },
    })
}

fn kind_of(about: &std::fs::Metadata) -> FileType {
    use std::os::unix::fs::MetadataExt;
    FileType::from_raw_mode(about.mode())
}

fn device(about: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    about.dev()
}

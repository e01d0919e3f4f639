//! Which entries of a source are left out, and by which rule.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use ignore::gitignore::Gitignore;
use ignore::{Match, gitignore};
use rustix::fs::{FileType, Mode, OFlags, openat};

use super::error::Error;
use super::pattern::{Pattern, builder};
use super::selection::Selection;
use super::sources::Source;

/// The name and the first bytes of the tag of a cache.
const TAG: &str = "CACHEDIR.TAG";
const SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The filters of a selection: sources whose patterns mean the same share one.
#[derive(Debug)]
pub struct Filters {
    shared: Filter,
    /// By the archive path of the source.
    own: HashMap<PathBuf, Filter>,
    /// The archive paths of all sources.
    names: HashSet<PathBuf>,
}

/// Where a walk is among the sources: patterns are relative to the nearest source above an entry.
#[derive(Debug, Default)]
pub struct Cursor {
    above: Vec<PathBuf>,
}

/// An entry as its nearest source sees it.
#[derive(Clone, Debug)]
pub struct Position<'a> {
    /// The filter of that source.
    pub filter: &'a Filter,
    /// Whether the entry is that source.
    pub is_source: bool,
    /// The path below that source.
    pub below: PathBuf,
}

impl Cursor {
    /// Goes to the entry with this archive path. A walk begins at a source.
    pub fn go<'a>(&mut self, filters: &'a Filters, path: &Path) -> Position<'a> {
        while self.above.last().is_some_and(|above| !path.starts_with(above)) {
            self.above.pop();
        }
        let is_source = filters.names.contains(path);
        if is_source && self.above.last().is_none_or(|above| above != path) {
            self.above.push(path.to_owned());
        }
        let above = self.above.last().map(PathBuf::as_path).unwrap_or(Path::new(""));
        let below = path.strip_prefix(above).unwrap_or(path).to_owned();
        Position { filter: filters.of(above), is_source, below }
    }
}

/// What is left out of one source.
#[derive(Clone, Debug)]
pub struct Filter {
    include: Option<Gitignore>,
    exclude: Gitignore,
    /// The pattern that leaves out the source itself.
    whole: Option<String>,
    markers: Vec<String>,
    caches: bool,
    larger_than: Option<u64>,
}

/// One entry of a source.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its path below the source; empty for the source itself.
    pub path: &'a Path,
    /// Its kind.
    pub kind: FileType,
    /// Its size in bytes.
    pub size: u64,
}

impl Filters {
    /// Fails for the first pattern that is none.
    pub fn new(selection: &Selection, sources: &[Source]) -> Result<Self, Error> {
        let roots: Vec<PathBuf> = sources.iter().map(|source| source.root.clone()).collect();
        let all = || selection.include.iter().chain(&selection.exclude);
        for pattern in all() {
            if let Some(reason) = pattern.problem() {
                let Pattern { text, origin } = pattern.clone();
                return Err(Error::Pattern { pattern: text, origin, reason });
            }
        }
        // Only patterns that begin with the path of a source mean something else for each.
        let names_a_root =
            |root: &Path| all().any(|pattern| pattern.below(root, &[]).as_deref() != Some(&pattern.text));
        let with_own: Vec<PathBuf> = roots.iter().filter(|root| names_a_root(root)).cloned().collect();
        let of = |root: &Path| Filter::new(selection, root, &with_own);
        let own = sources.iter().filter(|source| with_own.contains(&source.root));
        let own = own.map(|source| Ok((source.name.clone(), of(&source.root)?))).collect::<Result<_, Error>>()?;
        let names = sources.iter().map(|source| source.name.clone()).collect();
        Ok(Self { shared: of(Path::new("/"))?, own, names })
    }

    /// The filter of the source with this archive path.
    pub fn of(&self, name: &Path) -> &Filter {
        self.own.get(name).unwrap_or(&self.shared)
    }
}

impl Filter {
    fn new(selection: &Selection, root: &Path, named: &[PathBuf]) -> Result<Self, Error> {
        let others: Vec<PathBuf> = named.iter().filter(|other| *other != root).cloned().collect();
        let mut whole = None;
        let mut set = |patterns: &[Pattern]| {
            let mut builder = builder();
            let failed = |pattern: &Pattern, error: &ignore::Error| Error::Pattern {
                pattern: pattern.text.clone(),
                origin: pattern.origin.clone(),
                reason: format!("is not valid: {error}"),
            };
            for pattern in patterns {
                match pattern.below(root, &others) {
                    Some(line) if line.is_empty() || line == "/" => whole = Some(rule(&pattern.text, &pattern.origin)),
                    Some(line) => {
                        let origin = PathBuf::from(rule(&pattern.text, &pattern.origin));
                        builder.add_line(Some(origin), &line).map_err(|error| failed(pattern, &error))?;
                    }
                    None => {}
                }
            }
            let last = || patterns.last().cloned().unwrap_or_else(|| Pattern::of("", ""));
            builder.build().map_err(|error| failed(&last(), &error))
        };
        let exclude = set(&selection.exclude)?;
        let include = if selection.include.is_empty() { None } else { Some(set(&selection.include)?) };
        Ok(Self {
            include,
            exclude,
            whole,
            markers: selection.exclude_if_present.clone(),
            caches: selection.exclude_caches,
            larger_than: selection.larger_than,
        })
    }

    /// The rule that leaves an entry out; `None` if it is taken. A directory is entered unless a rule leaves it out.
    pub fn leaves_out(&self, candidate: Candidate<'_>) -> Option<String> {
        let Candidate { path, kind, size } = candidate;
        if path.as_os_str().is_empty() {
            return self.whole.clone();
        }
        let is_directory = kind == FileType::Directory;
        if let Match::Ignore(glob) = self.exclude.matched(path, is_directory) {
            return Some(origin(glob));
        }
        if kind == FileType::RegularFile && self.larger_than.is_some_and(|most| size > most) {
            return Some("`exclude-larger-than`".to_owned());
        }
        let is_included = |include: &Gitignore| include.matched_path_or_any_parents(path, is_directory).is_ignore();
        match &self.include {
            Some(include) if !is_directory && !is_included(include) => Some("no pattern of `include`".to_owned()),
            _ => None,
        }
    }

    /// Whether a directory is taken only if something in it is.
    pub fn takes_directories_with_content_only(&self) -> bool {
        self.include.is_some()
    }

    /// Leaves only the marker of a directory that one of its entries marks as not worth keeping, and returns the rule.
    pub fn keep_marker(&self, directory: BorrowedFd<'_>, names: &mut Vec<CString>) -> Option<String> {
        let has = |marker: &str| names.iter().any(|name| name.to_bytes() == marker.as_bytes());
        let marker = self.markers.iter().find(|marker| has(marker));
        let (marker, rule) = match marker {
            Some(marker) => (marker.as_str(), format!("`{marker}` of `exclude-if-present`")),
            None if self.caches && has(TAG) && is_cache(directory) => (TAG, "`exclude-caches`".to_owned()),
            None => return None,
        };
        names.retain(|name| name.to_bytes() == marker.as_bytes());
        Some(rule)
    }
}

fn origin(glob: &gitignore::Glob) -> String {
    glob.from().map(|from| from.display().to_string()).unwrap_or_default()
}

fn rule(pattern: &str, origin: &str) -> String {
    format!("`{pattern}` of `{origin}`")
}

/// Whether the tag of a directory is one: other programs name files so, too.
fn is_cache(directory: BorrowedFd<'_>) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(tag) = openat(directory, TAG, flags, Mode::empty()) else { return false };
    let mut head = [0; SIGNATURE.len()];
    std::fs::File::from(tag).read_exact(&mut head).is_ok() && head == *SIGNATURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(root: &str, include: &[&str], exclude: &[&str]) -> Filter {
        let patterns = |texts: &[&str], origin| texts.iter().map(|text| Pattern::of(text, origin)).collect();
        let selection = Selection {
            include: patterns(include, "include"),
            exclude: patterns(exclude, "exclude"),
            larger_than: Some(1_000),
            ..Selection::default()
        };
        Filter::new(&selection, Path::new(root), &[PathBuf::from("/srv/a"), PathBuf::from("/etc")]).unwrap()
    }

    fn leaves_out(filter: &Filter, path: &str) -> Option<String> {
        let (path, kind) = match path.strip_suffix('/') {
            Some(path) => (path, FileType::Directory),
            None => (path, FileType::RegularFile),
        };
        filter.leaves_out(Candidate { path: Path::new(path), kind, size: 10 })
    }

    #[test]
    fn patterns_are_those_of_a_gitignore() {
        for (patterns, path, is_out) in [
            (&["*.tmp"][..], "a/b.tmp", true),
            (&["*.tmp", "!keep.tmp"], "a/keep.tmp", false),
            (&["!keep.tmp", "*.tmp"], "a/keep.tmp", true),
            (&["cache/"], "a/cache/", true),
            (&["cache/"], "a/cache", false),
            (&["/cache"], "cache", true),
            (&["/cache"], "a/cache", false),
            (&["a/cache"], "a/cache", true),
            (&["a/cache"], "b/a/cache", false),
            (&["**/a/cache"], "b/a/cache", true),
            (&["a/**/z"], "a/z", true),
            (&["a/**/z"], "a/b/c/z", true),
            (&["a/**"], "a/b", true),
            (&["a/**"], "a/", false),
            (&["*"], "a/", true),
            (&["[ab]?"], "x/a1", true),
            (&["{x,y}.log"], "y.log", true),
            (&["\\!x"], "!x", true),
            // The absolute path of the source, and of another one.
            (&["/srv/a/b"], "b", true),
            (&["/srv/a/b"], "a/b", false),
            (&["/etc/b"], "etc/b", false),
        ] {
            let out = leaves_out(&filter("/srv/a", &[], patterns), path);
            assert_eq!(out.is_some(), is_out, "{patterns:?} on {path}: {out:?}");
        }
        let out = leaves_out(&filter("/srv/a", &[], &["*.tmp", "/srv/a/b"]), "b");
        assert_eq!(out.as_deref(), Some("`/srv/a/b` of `exclude`"));
    }

    #[test]
    fn the_source_itself_is_left_out_by_its_path_alone() {
        assert_eq!(leaves_out(&filter("/srv/a", &[], &["*", ".*", "**"]), ""), None);
        assert!(leaves_out(&filter("/srv/a", &[], &["/srv/a"]), "").is_some());
        assert!(leaves_out(&filter("/srv/a", &[], &["/srv/a/"]), "").is_some());
    }

    #[test]
    fn excludes_win_over_includes() {
        let filter = filter("/srv/a", &["*.txt", "docs/"], &["secret.txt", "docs/drafts/"]);
        for (path, is_out) in [
            ("a.txt", false),
            ("x/a.txt", false),
            ("x/a.bin", true),
            ("x/", false),
            ("docs/a.bin", false),
            ("docs/x/a.bin", false),
            ("docs/drafts/", true),
            ("secret.txt", true),
        ] {
            assert_eq!(leaves_out(&filter, path).is_some(), is_out, "{path}");
        }
    }

    #[test]
    fn large_files_are_left_out_and_other_large_things_are_not() {
        let filter = filter("/srv/a", &[], &[]);
        let out = |kind, size| filter.leaves_out(Candidate { path: Path::new("a"), kind, size });
        assert_eq!(out(FileType::RegularFile, 1_001).as_deref(), Some("`exclude-larger-than`"));
        assert_eq!(out(FileType::RegularFile, 1_000), None);
        assert_eq!(out(FileType::Directory, 4_096), None);
    }

    #[test]
    fn names_of_any_bytes_are_matched() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(OsStr::from_bytes(b"x/caf\xe9.tmp"));
        let filter = filter("/srv/a", &[], &["*.tmp"]);
        assert!(filter.leaves_out(Candidate { path, kind: FileType::RegularFile, size: 1 }).is_some());
    }
}

//! Which entries of a source are left out, and by which rule.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags, openat};

use super::error::Error;
use super::group::Group;
use super::pattern::{Pattern, Roots};
use super::selection::Selection;
use super::set::Set;
use super::sources::Source;

/// The name and the first bytes of the tag of a cache.
const TAG: &str = "CACHEDIR.TAG";
const SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The filters of a selection. Patterns are relative to the nearest source above an entry, and those that begin with the path of a
/// source keep that meaning for all that is below it.
#[derive(Debug)]
pub struct Filters {
    include: Option<Patterns>,
    exclude: Patterns,
    markers: Vec<String>,
    caches: bool,
    larger_than: Option<u64>,
    /// The real paths of the sources, without their leading `/`, by archive path.
    sources: HashMap<PathBuf, PathBuf>,
}

/// Where a walk is among the sources.
#[derive(Debug, Default)]
pub struct Cursor {
    above: Vec<PathBuf>,
}

/// An entry as its nearest source sees it.
#[derive(Clone, Debug)]
pub struct Position<'a> {
    /// Whether the entry is that source.
    pub is_source: bool,
    /// The path below that source.
    pub below: PathBuf,
    /// The real path of that source, without its leading `/`.
    pub source: &'a Path,
}

impl Cursor {
    /// Goes to the entry with this archive path. A walk begins at a source.
    pub fn go<'a>(&mut self, filters: &'a Filters, path: &Path) -> Position<'a> {
        while self.above.last().is_some_and(|above| !path.starts_with(above)) {
            self.above.pop();
        }
        let is_source = filters.sources.contains_key(path);
        if is_source && self.above.last().is_none_or(|above| above != path) {
            self.above.push(path.to_owned());
        }
        let above = self.above.last().map(PathBuf::as_path).unwrap_or(Path::new(""));
        let below = path.strip_prefix(above).unwrap_or(path).to_owned();
        let source = filters.sources.get(above).map(PathBuf::as_path).unwrap_or(Path::new(""));
        Position { is_source, below, source }
    }
}

impl Position<'_> {
    /// The real path of the entry, without its leading `/`.
    fn real(&self) -> PathBuf {
        // Joining an empty path would append a slash.
        if self.below.as_os_str().is_empty() { self.source.to_owned() } else { self.source.join(&self.below) }
    }
}

/// The patterns of one setting. The last that fits decides.
#[derive(Debug)]
struct Patterns {
    /// Those relative to each source.
    relative: Set,
    /// Those with the path of a source, relative to `/`.
    absolute: Set,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    text: String,
    /// Whether it is the path of a source and nothing else.
    is_source: bool,
    is_exception: bool,
    /// Whether it is of a named group, which nobody wrote for these sources.
    is_of_group: bool,
    /// Whether it decided about a path.
    is_used: AtomicBool,
}

impl Patterns {
    fn new(patterns: &[Pattern], roots: &Roots) -> Result<Self, Error> {
        let failed = |pattern: &Pattern, reason: String| {
            let Pattern { text, origin } = pattern.clone();
            Error::Pattern { pattern: text, origin, reason }
        };
        let (mut relative, mut absolute, mut rules) = (Vec::new(), Vec::new(), Vec::new());
        for (number, pattern) in patterns.iter().enumerate() {
            if let Some(reason) = pattern.problem() {
                return Err(failed(pattern, reason));
            }
            let line = roots.line(&pattern.text);
            rules.push(Rule {
                text: format!("`{}` of `{}`", pattern.text, pattern.origin),
                is_source: line.as_ref().is_some_and(|line| line.is_source),
                is_exception: pattern.text.starts_with('!'),
                is_of_group: Group::is_name(&pattern.origin),
                is_used: AtomicBool::new(false),
            });
            match line {
                Some(line) => absolute.push((number, line.text)),
                None => relative.push((number, pattern.text.clone())),
            }
        }
        let set = |lines: &[(usize, String)]| {
            Set::new(lines).map_err(|(number, reason)| {
                let pattern = patterns.get(number).cloned().unwrap_or_else(|| Pattern::of("", ""));
                failed(&pattern, format!("is not valid: {reason}"))
            })
        };
        Ok(Self { relative: set(&relative)?, absolute: set(&absolute)?, rules })
    }

    /// The rule that decides about one path, and whether it fits rather than makes an exception.
    fn decides(&self, below: &Path, real: &Path, is_directory: bool) -> Option<(&Rule, bool)> {
        let last = self.relative.last(below, is_directory).max(self.absolute.last(real, is_directory))?;
        let rule = self.rules.get(last)?;
        rule.is_used.store(true, Ordering::Relaxed);
        Some((rule, !rule.is_exception))
    }

    fn unused(&self) -> impl Iterator<Item = String> {
        let unused = |rule: &&Rule| !rule.is_of_group && !rule.is_used.load(Ordering::Relaxed);
        self.rules.iter().filter(unused).map(|rule| rule.text.clone())
    }

    /// Whether the path, or else the nearest folder above it that a rule is about, fits.
    fn takes(&self, below: &Path, real: &Path, is_directory: bool) -> bool {
        let mut relative = below.ancestors();
        let mut kind = is_directory;
        real.ancestors()
            .find_map(|real| {
                let below = relative.next().unwrap_or(Path::new(""));
                self.decides(below, real, std::mem::replace(&mut kind, true))
            })
            .is_some_and(|(_, fits)| fits)
    }
}

impl Filters {
    /// Fails for the first pattern that is none.
    pub fn new(selection: &Selection, sources: &[Source]) -> Result<Self, Error> {
        let roots = Roots::new(sources);
        let include = &selection.include;
        let include = if include.is_empty() { None } else { Some(Patterns::new(include, &roots)?) };
        let relative = |real: PathBuf| real.strip_prefix("/").map(Path::to_owned).unwrap_or(real);
        Ok(Self {
            include,
            exclude: Patterns::new(&selection.exclude, &roots)?,
            markers: selection.exclude_if_present.clone(),
            caches: selection.exclude_caches,
            larger_than: selection.larger_than,
            sources: sources.iter().map(|source| (source.name.clone(), relative(source.real()))).collect(),
        })
    }

    /// The rule that leaves an entry out; `None` if it is taken. A directory is entered unless a rule leaves it out. A directory
    /// that is a source is left out by its own path alone.
    pub fn leaves_out(&self, position: &Position<'_>, kind: FileType, size: u64) -> Option<String> {
        let is_directory = kind == FileType::Directory;
        let real = position.real();
        let below = match real.file_name() {
            // A file that is a source has a name, too.
            Some(name) if position.is_source && !is_directory => Path::new(name),
            _ => &position.below,
        };
        let out = self.exclude.decides(below, &real, is_directory).filter(|(_, fits)| *fits).map(|(rule, _)| rule);
        if position.is_source && is_directory {
            return out.filter(|rule| rule.is_source).map(|rule| rule.text.clone());
        }
        if let Some(rule) = out {
            return Some(rule.text.clone());
        }
        if kind == FileType::RegularFile && self.larger_than.is_some_and(|most| size > most) {
            return Some("`exclude-larger-than`".to_owned());
        }
        match &self.include {
            Some(include) if !is_directory && !include.takes(below, &real, is_directory) => {
                Some("no pattern of `include`".to_owned())
            }
            _ => None,
        }
    }

    /// The patterns that decided about nothing until now: of `include`, then of `exclude`. Those of groups aside.
    pub fn unused(&self) -> Vec<String> {
        self.include.iter().flat_map(Patterns::unused).chain(self.exclude.unused()).collect()
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

    /// Of the sources `/srv/a`, `/srv/a/inner` and `/etc`, of which none exists.
    fn filters(include: &[&str], exclude: &[&str]) -> Filters {
        let patterns = |texts: &[&str], origin| texts.iter().map(|text| Pattern::of(text, origin)).collect();
        let selection = Selection {
            include: patterns(include, "include"),
            exclude: patterns(exclude, "exclude"),
            larger_than: Some(1_000),
            ..Selection::default()
        };
        let source = |root: &str| Source { given: root.into(), name: root[1..].into(), root: root.into() };
        Filters::new(&selection, &["/none/a", "/none/a/inner", "/none/etc"].map(source)).unwrap()
    }

    /// About an entry below `/none/a`; a directory ends in `/`.
    fn leaves_out(filters: &Filters, path: &str) -> Option<String> {
        let kind = if path.is_empty() || path.ends_with('/') { FileType::Directory } else { FileType::RegularFile };
        of_kind(filters, path, kind, 10)
    }

    fn of_kind(filters: &Filters, path: &str, kind: FileType, size: u64) -> Option<String> {
        let mut cursor = Cursor::default();
        cursor.go(filters, Path::new("none/a"));
        let inner = Path::new("none/a/inner");
        let path = format!("none/a/{path}");
        let path = Path::new(path.trim_end_matches('/'));
        if path.starts_with(inner) {
            cursor.go(filters, inner);
        }
        filters.leaves_out(&cursor.go(filters, path), kind, size)
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
            (&["\\{x,y\\}.log"], "{x,y}.log", true),
            (&["\\!x"], "!x", true),
            // The absolute path of the source, and of another one.
            (&["/none/a/b"], "b", true),
            (&["/none/a/b"], "a/b", false),
            (&["/none/etc/b"], "none/etc/b", false),
            // The last decides, whichever way it is written.
            (&["/none/a/b/*", "!k"], "b/k", false),
            (&["!k", "/none/a/b/*"], "b/k", true),
            (&["*.log", "!/none/a/b/*.log"], "b/k.log", false),
            // Below a source inside another one.
            (&["/none/a/**/*.log"], "inner/k.log", true),
            (&["/none/a/inner/k"], "inner/k", true),
            (&["/inner/k"], "inner/k", false),
            (&["/k"], "inner/k", true),
        ] {
            let out = leaves_out(&filters(&[], patterns), path);
            assert_eq!(out.is_some(), is_out, "{patterns:?} on {path}: {out:?}");
        }
        let out = leaves_out(&filters(&[], &["*.tmp", "/none/a/b"]), "b");
        assert_eq!(out.as_deref(), Some("`/none/a/b` of `exclude`"));
    }

    #[test]
    fn the_source_itself_is_left_out_by_its_path_alone() {
        for (include, exclude, path, is_out) in [
            (&[][..], &["*", ".*", "**"][..], "", false),
            (&[], &["/none/a"], "", true),
            (&[], &["/none/a/"], "", true),
            (&[], &["/none/a", "!/none/a"], "", false),
            (&[], &["/none/a/*"], "inner/", false),
            (&[], &["/none/a/inner"], "inner/", true),
            (&["/none/a"], &[], "", false),
            (&["/none/a"], &[], "x/y", false),
            (&["/none/a"], &[], "inner/y", false),
            (&["/none/a/inner"], &[], "y", true),
        ] {
            assert_eq!(
                leaves_out(&filters(include, exclude), path).is_some(),
                is_out,
                "{include:?} {exclude:?} {path}"
            );
        }
    }

    #[test]
    fn a_file_that_is_a_source_has_a_name() {
        let file = |include: &[&str], exclude: &[&str], size| {
            of_kind(&filters(include, exclude), "inner", FileType::RegularFile, size).is_some()
        };
        assert!(!file(&[], &["*.tmp"], 10) && file(&[], &["inn*"], 10) && file(&[], &["/none/a/inner"], 10));
        assert!(file(&["*.txt"], &[], 10) && !file(&["inner"], &[], 10) && file(&[], &[], 1_001));
    }

    #[test]
    fn excludes_win_over_includes() {
        let filters = filters(&["*.txt", "docs/"], &["secret.txt", "docs/drafts/"]);
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
            assert_eq!(leaves_out(&filters, path).is_some(), is_out, "{path}");
        }
    }

    #[test]
    fn large_files_are_left_out_and_other_large_things_are_not() {
        let filters = filters(&[], &[]);
        let out = |kind, size| of_kind(&filters, "a", kind, size);
        assert_eq!(out(FileType::RegularFile, 1_001).as_deref(), Some("`exclude-larger-than`"));
        assert_eq!(out(FileType::RegularFile, 1_000), None);
        assert_eq!(out(FileType::Directory, 4_096), None);
    }

    #[test]
    fn names_of_any_bytes_are_matched() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let below = PathBuf::from(OsStr::from_bytes(b"x/caf\xe9.tmp"));
        let position = Position { is_source: false, below, source: Path::new("none/a") };
        assert!(filters(&[], &["*.tmp"]).leaves_out(&position, FileType::RegularFile, 1).is_some());
    }
}

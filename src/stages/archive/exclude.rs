use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

use globset::{Glob, GlobBuilder, GlobSet};
use regex::RegexSet;

/// Checked exclude patterns. [`Options::exclude`](super::Options::exclude) explains them.
#[derive(Debug)]
pub(super) struct Excludes {
    directories: Rules,
    others: Rules,
}

/// One entry, in the three forms that patterns match against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Its last component. The root of a tree archived as `.` has none.
    pub(super) name: Option<&'a Path>,
    /// Its path in the archive.
    pub(super) archived: &'a Path,
    /// Its path on this machine.
    pub(super) absolute: &'a Path,
    /// Whether it is a directory. Patterns with a trailing `/` match only directories.
    pub(super) directory: bool,
}

#[derive(Debug)]
struct Rules {
    name: Set,
    archived: Set,
    absolute: Set,
}

/// Patterns for one form of an entry. `globset` matches bytes, and in a text `?` and a class mean one character: patterns with
/// these match texts by `chars`.
#[derive(Debug)]
struct Set {
    /// All patterns, for names that are no text.
    bytes: GlobSet,
    /// Those whose bytes mean the same.
    plain: GlobSet,
    /// The others.
    chars: RegexSet,
}

impl Set {
    fn is_match(&self, path: &Path) -> bool {
        match path.to_str() {
            Some(text) => self.plain.is_match(path) || self.chars.is_match(text),
            None => self.bytes.is_match(path),
        }
    }
}

/// Checks patterns before anything runs. Fails with the index of the first invalid one and with the problem, which
/// completes the sentence "the pattern …".
pub(super) fn validate_excludes(patterns: &[String]) -> Result<(), (usize, String)> {
    Excludes::new(patterns).map(drop)
}

impl Excludes {
    pub(super) fn new(patterns: &[String]) -> Result<Self, (usize, String)> {
        let (mut directories, mut others) = (Builders::default(), Builders::default());
        for (index, pattern) in patterns.iter().enumerate() {
            let stem = pattern.strip_suffix('/').unwrap_or(pattern);
            let glob = parse(stem).map_err(|reason| (index, reason))?;
            directories.choose(stem).add(stem, glob.clone());
            if stem == pattern {
                others.choose(stem).add(stem, glob);
            }
        }
        let last = patterns.len().saturating_sub(1);
        let too_many = |error: String| (last, format!("is one too many: {error}"));
        Ok(Self { directories: directories.build().map_err(too_many)?, others: others.build().map_err(too_many)? })
    }

    pub(super) fn matches(&self, candidate: Candidate<'_>) -> bool {
        let rules = if candidate.directory { &self.directories } else { &self.others };
        // An entry without a name is matched only by its absolute path: `.*` must not exclude the whole tree `.`.
        rules.absolute.is_match(candidate.absolute)
            || candidate
                .name
                .is_some_and(|name| rules.name.is_match(name) || rules.archived.is_match(candidate.archived))
    }
}

fn parse(stem: &str) -> Result<Glob, String> {
    if stem.is_empty() {
        return Err("is empty".to_owned());
    }
    if stem.starts_with('!') {
        return Err("begins with `!`, which brings nothing back here: name what is left out, or write `\\!` for a name that begins so".to_owned());
    }
    if stem.starts_with('~') {
        return Err(
            "begins with `~`, which is no folder here: write the whole path, or `\\~` for a name that begins so"
                .to_owned(),
        );
    }
    if stem.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("has a component `.` or `..`, which no path in an archive has".to_owned());
    }
    GlobBuilder::new(stem)
        .literal_separator(true)
        .build()
        .map_err(|error| format!("is not a glob pattern: {}", error.kind()))
}

#[derive(Default)]
struct Builder {
    bytes: Vec<Glob>,
    plain: Vec<Glob>,
    chars: Vec<String>,
}

impl Builder {
    fn add(&mut self, stem: &str, glob: Glob) {
        if stem.contains(['?', '[']) {
            self.chars.push(regex_of(stem));
        } else {
            self.plain.push(glob.clone());
        }
        self.bytes.push(glob);
    }

    fn build(self) -> Result<Set, String> {
        let set = |globs: Vec<Glob>| GlobSet::new(globs).map_err(|error| error.to_string());
        let chars = RegexSet::new(self.chars).map_err(|error| error.to_string())?;
        Ok(Set { bytes: set(self.bytes)?, plain: set(self.plain)?, chars })
    }
}

/// The regular expression for a glob that `globset` accepts, over characters.
fn regex_of(glob: &str) -> String {
    let mut regex = "^(?s:".to_owned();
    let mut chars = glob.chars().peekable();
    let (mut before, mut depth) = (None, 0_u32);
    while let Some(c) = chars.next() {
        match c {
            '\\' => regex.push_str(&regex::escape(&chars.next().unwrap_or('\\').to_string())),
            '?' => regex.push_str("[^/]"),
            '[' => class(&mut chars, &mut regex),
            '{' => {
                regex.push_str("(?:");
                depth += 1;
            }
            '}' => {
                regex.push(')');
                depth = depth.saturating_sub(1);
            }
            ',' if depth > 0 => regex.push('|'),
            '*' => {
                let mut stars = 1;
                while chars.next_if_eq(&'*').is_some() {
                    stars += 1;
                }
                let is_component = stars == 2 && matches!(before, None | Some('/'));
                match chars.peek() {
                    Some('/') if is_component => {
                        chars.next();
                        regex.push_str("(?:.*/)?");
                        before = Some('/');
                        continue;
                    }
                    None if is_component => regex.push_str(".+"),
                    _ => regex.push_str("[^/]*"),
                }
            }
            _ => regex.push_str(&regex::escape(&c.to_string())),
        }
        before = Some(c);
    }
    regex + ")$"
}

/// A character class, whose `[` is read already.
fn class(chars: &mut Peekable<Chars<'_>>, regex: &mut String) {
    regex.push('[');
    if chars.next_if(|c| matches!(c, '!' | '^')).is_some() {
        regex.push('^');
    }
    let mut is_first = true;
    while let Some(c) = chars.next() {
        match c {
            ']' if !is_first => break,
            '-' if !is_first && chars.peek() != Some(&']') => regex.push('-'),
            _ if c.is_alphanumeric() || !c.is_ascii() => regex.push(c),
            _ => regex.extend(['\\', c]),
        }
        is_first = false;
    }
    regex.push_str("&&[^/]]");
}

#[derive(Default)]
struct Builders {
    name: Builder,
    archived: Builder,
    absolute: Builder,
}

impl Builders {
    fn choose(&mut self, stem: &str) -> &mut Builder {
        match stem {
            _ if stem.starts_with('/') => &mut self.absolute,
            _ if stem.contains('/') => &mut self.archived,
            _ => &mut self.name,
        }
    }

    fn build(self) -> Result<Rules, String> {
        Ok(Rules { name: self.name.build()?, archived: self.archived.build()?, absolute: self.absolute.build()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(pattern: &str, archived: &str, directory: bool) -> bool {
        let archived = Path::new(archived);
        Excludes::new(&[pattern.to_owned()]).unwrap().matches(Candidate {
            name: archived.file_name().map(Path::new),
            archived,
            absolute: &Path::new("/").join(archived),
            directory,
        })
    }

    #[test]
    fn each_form_of_a_pattern_has_its_subject() {
        for (pattern, archived, expected) in [
            ("*.tmp", "srv/a.tmp", true),
            ("*.tmp", "srv/a.tmp.d", false),
            ("cache", "srv/cache", true),
            ("cache", "cache", true),
            ("cache", "srv/cached", false),
            (".*", "srv/.hidden", true),
            ("srv/*/cache", "srv/a/cache", true),
            ("srv/*/cache", "srv/a/b/cache", false),
            ("srv/*/cache", "x/srv/a/cache", false),
            ("srv/**/cache", "srv/a/b/cache", true),
            ("**/target/debug", "srv/a/target/debug", true),
            ("**/target/debug", "target/debug", true),
            ("srv/a/**", "srv/a/b", true),
            ("srv/a/**", "srv/a", false),
            ("/srv/a", "srv/a", true),
            ("/srv/a", "x/srv/a", false),
            ("/a", "srv/a", false),
            ("[ab]?", "srv/a1", true),
            ("{x,y}.log", "y.log", true),
            (r"\*", "srv/*", true),
            (r"\*", "srv/a", false),
            // One character, not one byte.
            ("m?ll.tmp", "srv/müll.tmp", true),
            ("m??ll.tmp", "srv/müll.tmp", false),
            ("[ä]*", "srv/äpfel", true),
            ("[ä]*", "srv/über", false),
            ("[!ä]*", "srv/über", true),
            ("[a-zß-ü]?", "srv/ö1", true),
            ("[]a-]", "srv/]", true),
            ("[]a-]", "srv/-", true),
            ("[]a-]", "srv/b", false),
            ("[.]?{x,ü}", "srv/.éü", true),
            ("[.]?{x,ü}", "srv/.é,", false),
            ("**/?/c", "srv/ü/c", true),
            ("srv/**/?", "srv/a/b/ü", true),
            ("srv/**/?", "srv/ü", true),
            ("srv/?/**", "srv/ü/a", true),
            ("srv/?/**", "srv/ü", false),
            ("srv/?*", "srv/a/b", false),
            (r"\??", "srv/?ü", true),
            ("?.(a)+$", "srv/ü.(a)+$", true),
        ] {
            assert_eq!(excluded(pattern, archived, false), expected, "{pattern} on {archived}");
        }
    }

    #[test]
    fn a_trailing_slash_means_directories() {
        assert!(excluded("cache/", "srv/cache", true));
        assert!(!excluded("cache/", "srv/cache", false));
        assert!(excluded("srv/cache/", "srv/cache", true));
    }

    #[test]
    fn the_tree_archived_as_a_dot_is_not_a_hidden_file() {
        let root = Candidate { name: None, archived: Path::new("."), absolute: Path::new("/srv"), directory: true };
        for (pattern, expected) in [(".*", false), ("*", false), ("**/*", false), ("/srv", true)] {
            assert_eq!(Excludes::new(&[pattern.to_owned()]).unwrap().matches(root), expected, "{pattern}");
        }
    }

    #[test]
    fn names_of_any_bytes_are_matched() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let name = Path::new(OsStr::from_bytes(b"caf\xe9.tmp"));
        let candidate = Candidate { name: Some(name), archived: name, absolute: name, directory: false };
        assert!(Excludes::new(&["*.tmp".to_owned()]).unwrap().matches(candidate));
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        let check = |pattern: &str| validate_excludes(&["fine".to_owned(), pattern.to_owned()]).unwrap_err();
        for pattern in ["", "/", "[a", "{a", "a/../b", "./a", "!a", "~/.cache", "~"] {
            assert_eq!(check(pattern).0, 1, "{pattern}");
        }
        assert_eq!(check("[a").1, "is not a glob pattern: unclosed character class; missing ']'");
        assert_eq!(validate_excludes(&[]), Ok(()));
    }
}

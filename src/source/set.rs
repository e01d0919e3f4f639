//! Patterns of one `.gitignore`. The crate `ignore` matches bytes; in a name that is a text, `?` and a class mean one character.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use regex::{RegexSet, RegexSetBuilder};

/// Patterns relative to one folder. Each has a number.
#[derive(Debug)]
pub(super) struct Set {
    /// The origin of a glob is its number.
    bytes: Gitignore,
    /// The same over characters, where that is something else.
    characters: Option<Characters>,
}

#[derive(Debug)]
struct Characters {
    regexes: RegexSet,
    /// The number of each regular expression, and whether it is about directories alone.
    about: Vec<(usize, bool)>,
}

impl Set {
    /// Fails with why patterns are none, and with the number of the one that is none.
    pub(super) fn new(patterns: &[(usize, String)]) -> Result<Self, (usize, String)> {
        let mut builder = builder();
        for (number, pattern) in patterns {
            let failed = |error: ignore::Error| (*number, cause(&error));
            builder.add_line(Some(PathBuf::from(number.to_string())), pattern).map_err(failed)?;
        }
        let last = patterns.last().map_or(0, |(number, _)| *number);
        let bytes = builder.build().map_err(|error| (last, cause(&error)))?;
        let differ = patterns.iter().any(|(_, pattern)| pattern.contains(['?', '[']));
        let characters = if differ { Some(Characters::new(patterns).map_err(|reason| (last, reason))?) } else { None };
        Ok(Self { bytes, characters })
    }

    /// The number of the last pattern that is about a path.
    pub(super) fn last(&self, path: &Path, is_directory: bool) -> Option<usize> {
        if self.bytes.is_empty() || path.as_os_str().is_empty() {
            return None;
        }
        match (&self.characters, path.to_str()) {
            (Some(characters), Some(text)) if !text.is_ascii() => characters.last(text, is_directory),
            _ => self.bytes.matched(path, is_directory).inner()?.from()?.to_str()?.parse().ok(),
        }
    }
}

impl Characters {
    fn new(patterns: &[(usize, String)]) -> Result<Self, String> {
        let (mut regexes, mut about) = (Vec::new(), Vec::new());
        for (number, pattern) in patterns {
            let (glob, is_for_directories) = glob(pattern);
            regexes.push(regex(&glob)?);
            about.push((*number, is_for_directories));
        }
        // As many as the user wrote.
        let set = RegexSetBuilder::new(regexes).dot_matches_new_line(true).size_limit(usize::MAX).build();
        Ok(Self { regexes: set.map_err(|error| error.to_string())?, about })
    }

    fn last(&self, text: &str, is_directory: bool) -> Option<usize> {
        let fitting = self.regexes.matches(text).into_iter().filter_map(|at| self.about.get(at));
        fitting.filter(|(_, is_for_directories)| is_directory || !is_for_directories).map(|(number, _)| *number).max()
    }
}

/// Reads patterns below a source. A class that is not closed is a mistake.
fn builder() -> GitignoreBuilder {
    let mut builder = GitignoreBuilder::new("");
    builder.allow_unclosed_class(false);
    builder
}

/// What the crate says of a pattern, without the pattern itself.
fn cause(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        ignore::Error::Partial(errors) => errors.iter().map(cause).collect::<Vec<_>>().join("; "),
        ignore::Error::WithLineNumber { err, .. } | ignore::Error::WithPath { err, .. } => cause(err),
        other => other.to_string(),
    }
}

/// The glob that a pattern is for a path relative to its folder, and whether it is about directories alone.
fn glob(pattern: &str) -> (String, bool) {
    let is_escaped = |text: &str| text.chars().rev().skip(1).take_while(|letter| *letter == '\\').count() % 2 == 1;
    let mut line = pattern;
    while line.ends_with(' ') && !is_escaped(line) {
        line = &line[..line.len() - 1];
    }
    let literal = line.strip_prefix('\\').filter(|rest| rest.starts_with(['!', '#']));
    line = literal.unwrap_or_else(|| line.strip_prefix('!').unwrap_or(line));
    let (is_anchored, line) = match line.strip_prefix('/') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (line, is_for_directories) = match line.strip_suffix('/') {
        Some(directory) => (directory.strip_suffix('\\').unwrap_or(directory), true),
        None => (line, false),
    };
    let prefix = if is_anchored || line.contains('/') || line == "**" { "" } else { "**/" };
    let suffix = if line.ends_with("/**") { "/*" } else { "" };
    (format!("{prefix}{line}{suffix}"), is_for_directories)
}

/// The regular expression of a glob, with characters where `globset` has their bytes.
fn regex(glob: &str) -> Result<String, String> {
    let glob = GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build();
    let glob = glob.map_err(|error| error.kind().to_string())?;
    let regex = glob.regex().trim_start_matches("(?-u)");
    let (mut bytes, mut letters) = (Vec::with_capacity(regex.len()), regex.bytes());
    while let Some(letter) = letters.next() {
        match (letter, letters.clone().next()) {
            (b'\\', Some(b'x')) => {
                let digits: String = letters.by_ref().skip(1).take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).map_err(|error| error.to_string())?);
            }
            (b'\\', Some(escaped)) => {
                bytes.extend([letter, escaped]);
                letters.next();
            }
            _ => bytes.push(letter),
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Set::new(&[(7, pattern.to_owned())]).unwrap().last(Path::new(name), true) == Some(7)
    }

    #[test]
    fn a_character_is_a_character() {
        for (pattern, name, does) in [
            ("m?ll", "müll", true),
            ("m??ll", "müll", false),
            ("?", "日", true),
            ("[ä]*", "ärger", true),
            ("[ä]*", "über", false),
            ("[!ä]*", "über", true),
            ("[!ä]*", "ärger", false),
            ("[а-я]", "п", true),
            ("[а-я]", "Ω", false),
            ("[[:alpha:]ß]", "ß", true),
            ("{ä,ö}?", "öé", true),
            ("\\?ü", "?ü", true),
            ("\\?ü", "aü", false),
            ("[\\\\x]ü", "\\ü", true),
            ("x\\\\xc3?", "x\\xc3é", true),
            ("ü\n?", "ü\n\n", true),
            ("/ü?", "a/üb", false),
            ("a/**/?", "a/b/ü", true),
            ("?/**", "ü/b", true),
            ("?/**", "ü", false),
            ("[ü/]x", "/x", false),
        ] {
            assert_eq!(fits(pattern, name), does, "{pattern} on {name}");
        }
    }

    #[test]
    fn the_last_that_fits_decides() {
        let set = Set::new(&[(1, "ü?".into()), (4, "!üb".into()), (9, "[ü]b/".into())]).unwrap();
        let last = |name: &str, is_directory| set.last(Path::new(name), is_directory);
        assert_eq!(
            (last("üa", false), last("üb", false), last("x/üb", true), last("öb", true)),
            (Some(1), Some(4), Some(9), None)
        );
    }

    proptest! {
        /// `ignore` is the measure wherever a byte is a character.
        #[test]
        fn ascii_fits_as_ignore_says(pattern in r"[!\\/]?[ab?*/\[\]! \\-]{1,8}/?", name in "[ab!-]( ?[ab!/-]{0,3}[ab!-])?", is_directory: bool) {
            let Ok(set) = Set::new(&[(0, pattern.clone())]) else { return Ok(()) };
            if name.contains("//") || set.bytes.is_empty() {
                return Ok(());
            }
            let characters = Characters::new(&[(0, pattern.clone())]).unwrap();
            prop_assert_eq!(characters.last(&name, is_directory), set.last(Path::new(&name), is_directory), "{:?} on {:?}", pattern, name);
        }
    }
}

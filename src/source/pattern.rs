//! One pattern, as a `.gitignore` has it: <https://git-scm.com/docs/gitignore#_pattern_format>.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::set::Set;
use super::sources::Source;

/// A pattern with the place that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As the user gave it.
    pub text: String,
    /// The setting, the group, or the line of the file that holds it.
    pub origin: String,
}

impl Pattern {
    /// A pattern of a setting.
    pub fn of(text: &str, origin: &str) -> Self {
        Self { text: text.to_owned(), origin: origin.to_owned() }
    }

    /// Why it is no pattern, if it is none. Completes the sentence "the pattern …".
    pub fn problem(&self) -> Option<String> {
        let stem = self.text.strip_prefix('!').unwrap_or(&self.text);
        let parts = || stem.split('/');
        if stem.trim_end_matches('/').trim_end_matches(' ').is_empty() {
            return Some("is empty".to_owned());
        }
        if self.text.starts_with('#') {
            return Some("begins with `#`, as a comment does: write `\\#` for a name that begins so".to_owned());
        }
        if stem.starts_with('~') && !stem.starts_with("~$") && (stem == "~" || stem.starts_with("~/")) {
            return Some("begins with `~`, which is no folder here: write the whole path".to_owned());
        }
        if has_braces(stem) {
            let reason = "has a brace, which a `.gitignore` takes as it is: write a pattern for each of the words, or `\\{` for a brace";
            return Some(reason.to_owned());
        }
        if parts().any(|part| matches!(part, "." | "..")) {
            return Some("has a component `.` or `..`, which no path below a source has".to_owned());
        }
        Set::new(&[(0, self.text.clone())]).err().map(|(_, reason)| format!("is not valid: {reason}"))
    }
}

/// Whether a pattern has a brace that `globset` would take for a choice.
fn has_braces(pattern: &str) -> bool {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => _ = letters.next(),
            '{' | '}' => return true,
            _ => {}
        }
    }
    false
}

/// The paths of the sources, as they are written and as they are. By these a pattern is known to be meant from a source.
#[derive(Debug)]
pub(super) struct Roots {
    real: HashMap<PathBuf, PathBuf>,
}

/// A pattern that is meant from a source, relative to `/`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// Whether it is the path of a source and nothing else.
    pub(super) is_source: bool,
}

impl Roots {
    pub(super) fn new(sources: &[Source]) -> Self {
        let both = sources.iter().flat_map(|source| {
            let real = source.real();
            [(source.root.clone(), real.clone()), (real.clone(), real)]
        });
        // Below `/`, a pattern with a leading slash means the same both ways.
        Self { real: both.filter(|(root, _)| root != Path::new("/")).collect() }
    }

    /// The pattern relative to `/`, if it begins with the path of a source. The nearest source is meant.
    pub(super) fn line(&self, pattern: &str) -> Option<Line> {
        let (not, stem) = match pattern.strip_prefix('!') {
            Some(stem) => ("!", stem),
            None => ("", pattern),
        };
        if !stem.starts_with('/') {
            return None;
        }
        let ends = stem.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        let ends: Vec<usize> = ends.chain((!stem.ends_with('/')).then_some(stem.len())).collect();
        let (root, rest) = ends.iter().rev().find_map(|end| {
            let (above, rest) = stem.split_at(*end);
            let real = self.real.get(Path::new(above)).or_else(|| self.real.get(&fs::canonicalize(above).ok()?))?;
            Some((real.to_str()?, rest))
        })?;
        let mut text = not.to_owned();
        for letter in root.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | ' ') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push_str(rest);
        Some(Line { text, is_source: rest.trim_end_matches('/').is_empty() })
    }
}

/// The patterns of a file: one a line, without comments and empty lines.
pub fn read_patterns(path: &Path) -> Result<Vec<Pattern>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::List { path: path.to_owned(), source })?;
    let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines().enumerate();
    let patterns = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let origin = |number: usize| format!("{}:{}", path.display(), number + 1);
    Ok(patterns.map(|(number, line)| Pattern { text: line.to_owned(), origin: origin(number) }).collect())
}

/// What to do about a pattern that was meant from the root of the archive or of the machine, where it now means something else:
/// patterns are relative to each source. `None` if it means the same.
pub fn moved(pattern: &str, sources: &[PathBuf]) -> Option<String> {
    let stem = pattern.trim_end_matches('/');
    let inside = pattern.trim_start_matches('/');
    if !stem.contains('/') || inside.starts_with("**/") || pattern.starts_with('!') {
        return None;
    }
    let roots = || sources.iter().filter_map(|source| source.to_str());
    if roots().any(|root| root.starts_with('/') && is_below(stem, root.trim_end_matches('/'))) {
        return None;
    }
    for root in roots() {
        let named = root.trim_start_matches("./").trim_matches('/');
        let rest = inside.strip_prefix(named).filter(|rest| !named.is_empty() && rest.starts_with('/'));
        if let Some(rest) = rest {
            return Some(format!("write `{rest}`, or the absolute path"));
        }
    }
    let first = |path: &str| path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
    let is_of_the_machine = |root: &str| root.starts_with('/') && first(root) == first(inside);
    let is_meant = pattern.starts_with('/') && roots().any(is_of_the_machine);
    is_meant.then(|| "begin it with the path of a source, without wildcards in that, or with `**/`".to_owned())
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_pattern_has_its_reason() {
        let problem = |text: &str| Pattern::of(text, "exclude").problem();
        for text in ["", "/", "!", "  ", "[a", "a/../b", "./a", "~/.cache", "~", "# a", "{a,b}", "*.{tmp,bak}", "a}"] {
            assert!(problem(text).is_some(), "{text}");
        }
        for text in ["*.tmp", "!keep.tmp", "/a", "a/**/b", "~$*", "\\#a", "\\{a,b\\}", "a b ", "caf\u{e9}"] {
            assert_eq!(problem(text), None, "{text}");
        }
        assert_eq!(problem("[a").unwrap(), "is not valid: unclosed character class; missing ']'");
    }

    #[test]
    fn an_absolute_path_is_meant_from_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("real/o [1]")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        let source = |root: PathBuf| Source { given: root.clone(), name: PathBuf::new(), root };
        let roots = Roots::new(&[source(base.join("link/o [1]")), source(PathBuf::from("/none/orders"))]);
        let line = |pattern: &str| roots.line(pattern).map(|line| (line.text, line.is_source));
        let is = |text: &str, is_source| Some((text.to_owned(), is_source));
        assert_eq!(line("/none/orders/cache/"), is("/none/orders/cache/", false));
        assert_eq!(line("!/none/orders/a"), is("!/none/orders/a", false));
        assert_eq!(line("/none/orders/"), is("/none/orders/", true));
        for other in ["/none/ordersx", "/none", "/cache", "none/orders", "*"] {
            assert_eq!(line(other), None, "{other}");
        }
        // The same folder by any of its paths.
        let real = format!("{}/real/o\\ \\[1\\]", base.display());
        for way in ["link/o [1]", "real/o [1]", "real/../link/o [1]"] {
            assert_eq!(line(&format!("{}/{way}/*.log", base.display())), is(&format!("{real}/*.log"), false), "{way}");
        }
        assert_eq!(Roots::new(&[source(PathBuf::from("/"))]).line("/a"), None);
    }

    #[test]
    fn a_pattern_of_another_meaning_has_another_form() {
        let sources = [PathBuf::from("/srv/orders"), PathBuf::from("data")];
        for (pattern, says) in [
            ("srv/orders/*/cache", Some("`/*/cache`")),
            ("data/tmp", Some("`/tmp`")),
            ("/srv/*/cache", Some("`**/`")),
            ("/srv/orders/cache", None),
            ("/cache", None),
            ("target/debug", None),
            ("**/data/tmp", None),
            ("*.tmp", None),
            ("cache/", None),
        ] {
            let help = moved(pattern, &sources);
            assert_eq!(help.is_some(), says.is_some(), "{pattern}: {help:?}");
            assert!(says.is_none_or(|says| help.unwrap().contains(says)), "{pattern}");
        }
    }
}

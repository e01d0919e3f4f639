//! One file: what its text means, and where each part of it stands.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value as Json};

use super::align::{Quotes, align};
use super::events::{self, escape};
use crate::diagnostic::{Diagnostic, Place};

/// A pipeline file is written by people.
pub(super) const LARGEST: u64 = 4 << 20;

/// A stretch of text, in characters from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) start: usize,
    /// Behind its last character.
    pub(super) end: usize,
}

/// Where a value stands, and its key if it has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) key: Option<Mark>,
    pub(super) value: Mark,
    pub(super) quotes: Quotes,
}

/// A file that was read.
#[derive(Debug)]
pub struct Document {
    name: String,
    folder: PathBuf,
    text: String,
    characters: Vec<char>,
    /// Where each line begins.
    lines: Vec<usize>,
    value: Json,
    spots: HashMap<String, Spot>,
    aliases: HashMap<String, String>,
}

impl Document {
    /// Reads a file. Fails with all that makes it unreadable.
    pub fn read(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let name = path.display().to_string();
        let one = |code, message: String| vec![Diagnostic::usage(code, message)];
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            let message = match error.kind() {
                ErrorKind::NotFound => format!("there is no file `{name}`"),
                _ => format!("the file `{name}` cannot be read"),
            };
            return Err(vec![Diagnostic::usage("TL0001", message).cause(&error)]);
        }
        if bytes.len() as u64 > LARGEST {
            return Err(one("TL0004", format!("`{name}` is larger than {} MiB", LARGEST >> 20)));
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text,
            Ok(text) => return Err(vec![not_a_text(name, text.as_bytes(), text.len())]),
            Err(error) => return Err(vec![not_a_text(name, error.as_bytes(), error.utf8_error().valid_up_to())]),
        };
        // What a relative path in the file is relative to.
        let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
        Self::parse(name, folder.unwrap_or_default(), text)
    }

    /// Reads a text. `folder` is what relative paths in it are relative to.
    pub fn parse(name: String, folder: PathBuf, text: String) -> Result<Self, Vec<Diagnostic>> {
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let characters: Vec<char> = text.chars().collect();
        let index = events::index(&text, &characters);
        let behind = |(at, c): (usize, &char)| (*c == '\n').then_some(at + 1);
        let lines = std::iter::once(0).chain(characters.iter().enumerate().filter_map(behind)).collect();
        let (spots, aliases) = (index.spots, index.aliases);
        let mut document = Self { name, folder, text, characters, lines, value: Json::Null, spots, aliases };
        let mut findings: Vec<Diagnostic> = index
            .forbidden
            .into_iter()
            .map(|found| {
                let diagnostic = Diagnostic::usage(found.code, found.message).at(document.place(found.mark));
                match found.help {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }
            })
            .collect();
        if findings.is_empty() && !index.found {
            findings.push(
                Diagnostic::usage("TL0003", format!("`{}` is empty", document.name))
                    .help("start with `version: 1` and a `name`; the folder `pipelines/` has examples"),
            );
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        match serde_yaml::from_str(&document.text) {
            Ok(value) => document.value = document.to_json(value, "")?,
            Err(error) => {
                let byte = error.location().map_or(0, |at| at.index());
                let start = document.text.char_indices().take_while(|(at, _)| *at < byte).count();
                let mark = Mark { start, end: start + 1 };
                let message = format!("this is not YAML: {error}");
                return Err(vec![Diagnostic::usage("TL0005", message).at(document.place(mark))]);
            }
        }
        Ok(document)
    }

    /// Every pointer that has a place, through aliases too.
    #[cfg(test)]
    pub(super) fn pointers(&self) -> std::collections::BTreeSet<String> {
        let mut all: std::collections::BTreeSet<String> = self.spots.keys().cloned().collect();
        loop {
            let copied: Vec<String> = self
                .aliases
                .iter()
                .flat_map(|(alias, target)| {
                    let below = all.iter().filter_map(move |pointer| pointer.strip_prefix(target.as_str()));
                    below.filter(|rest| rest.starts_with('/')).map(move |rest| format!("{alias}{rest}"))
                })
                .collect();
            let before = all.len();
            all.extend(copied);
            if all.len() == before {
                return all;
            }
        }
    }

    fn to_json(&self, value: serde_yaml::Value, pointer: &str) -> Result<Json, Vec<Diagnostic>> {
        use serde_yaml::Value as Yaml;
        let refuse = |message: String| vec![Diagnostic::usage("TL0010", message).at(self.at_value(pointer))];
        Ok(match value {
            Yaml::Null => Json::Null,
            Yaml::Bool(bool) => Json::Bool(bool),
            Yaml::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(int), ..) => Json::from(int),
                (_, Some(uint), _) => Json::from(uint),
                (_, _, Some(float)) => Json::Number(
                    Number::from_f64(float)
                        .ok_or_else(|| refuse("a number must be finite: `.inf` and `.nan` are not".to_owned()))?,
                ),
                _ => return Err(refuse("this number cannot be used".to_owned())),
            },
            Yaml::String(text) => Json::String(text),
            Yaml::Sequence(items) => Json::Array(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(i, item)| self.to_json(item, &format!("{pointer}/{i}")))
                    .collect::<Result<_, _>>()?,
            ),
            Yaml::Mapping(entries) => {
                let mut map = Map::new();
                for (key, item) in entries {
                    let key = match key {
                        Yaml::String(key) => key,
                        other => {
                            let text = serde_yaml::to_string(&other).unwrap_or_default();
                            let text = text.trim();
                            let at = self.at_key(&format!("{pointer}/{}", escape(text)));
                            let message = format!("the key `{text}` is not a text");
                            return Err(vec![Diagnostic::usage("TL0010", message).at(at).help("put it in quotes")]);
                        }
                    };
                    let item = self.to_json(item, &format!("{pointer}/{}", escape(&key)))?;
                    map.insert(key, item);
                }
                Json::Object(map)
            }
            Yaml::Tagged(_) => return Err(refuse("tags have no meaning here".to_owned())),
        })
    }

    /// The file as the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of the file.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it means.
    pub fn value(&self) -> &Json {
        &self.value
    }

    fn place(&self, mark: Mark) -> Place {
        let all = self.characters.as_slice();
        // Behind the last character there is no line to show: the end of the text is its last character.
        let start = mark.start.min(all.len().saturating_sub(1));
        let line = self.lines.partition_point(|begin| *begin <= start);
        let line_start = self.lines[line - 1];
        let line_end = self.lines.get(line).map_or(all.len(), |next| next - 1);
        let text: String = all[line_start..line_end].iter().collect();
        let text = text.strip_suffix('\r').unwrap_or(&text);
        // What spans several lines is marked to the end of its first.
        let end = if mark.end > line_end { line_start + text.trim_end().chars().count() } else { mark.end };
        Place {
            file: self.name.clone(),
            line,
            column: start - line_start + 1,
            length: end.saturating_sub(start).max(1),
            text: without_identities(text),
        }
    }

    /// Where a value stands; the nearest one around it where the pointer leads nowhere.
    pub fn at_value(&self, pointer: &str) -> Place {
        self.place(self.spot(pointer).map(|spot| spot.value).unwrap_or_default())
    }

    /// Where the key of a value stands.
    pub fn at_key(&self, pointer: &str) -> Place {
        self.place(self.spot(pointer).map(|spot| spot.key.unwrap_or(spot.value)).unwrap_or_default())
    }

    /// Where some characters of a text value stand, through quotes, escapes and folding.
    pub fn inside(&self, pointer: &str, offset: usize, length: usize) -> Place {
        let Some(spot) = self.spot(pointer) else { return self.place(Mark::default()) };
        let Some(Json::String(value)) = self.value.pointer(pointer) else { return self.place(spot.value) };
        // An alias points at the text that it stands for.
        let start = match spot.quotes {
            // Its empty first lines are a part of it, and are not marked.
            Quotes::Block => {
                let before = &self.characters[..spot.value.start];
                let header = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| last + 1);
                header + before[header..].iter().position(|c| *c == '\n').map_or(0, |newline| newline + 1)
            }
            _ => spot.value.start,
        };
        let raw = self.characters.get(start..spot.value.end).unwrap_or_default();
        let Some(from) = align(raw, spot.quotes, value, offset) else { return self.place(spot.value) };
        let to = align(raw, spot.quotes, value, offset + length.max(1) - 1).map_or(from + 1, |last| last + 1);
        self.place(Mark { start: start + from, end: start + to })
    }

    /// The line of the alias through which a value is reached, where it is.
    pub(super) fn alias_line(&self, pointer: &str) -> Option<usize> {
        let ends = pointer.match_indices('/').map(|(at, _)| at).chain([pointer.len()]);
        let alias = ends.map(|end| &pointer[..end]).find(|prefix| self.aliases.contains_key(*prefix))?;
        Some(self.place(self.spots.get(alias)?.value).line)
    }

    /// The spot of a pointer, through aliases, or of the nearest value around it.
    fn spot(&self, pointer: &str) -> Option<Spot> {
        if let Some(spot) = self.spots.get(pointer) {
            // The value of an alias is read where it was written.
            let target = self.aliases.get(pointer).and_then(|target| self.spots.get(target)).unwrap_or(spot);
            return Some(Spot { key: spot.key, ..*target });
        }
        let mut prefix = pointer;
        while let Some(cut) = prefix.rfind('/') {
            prefix = &prefix[..cut];
            if let Some(target) = self.aliases.get(prefix) {
                return self.spot(&format!("{target}{}", &pointer[prefix.len()..]));
            }
        }
        let parent = &pointer[..pointer.rfind('/')?];
        self.spot(parent)
    }
}

/// A file that is not a text: marked at its first byte that no text has, which may be a NUL before the end of the valid
/// part.
fn not_a_text(file: String, bytes: &[u8], valid: usize) -> Diagnostic {
    let (bytes, valid) = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) if valid >= 3 => (rest, valid - 3),
        _ => (bytes, valid),
    };
    let at = bytes[..valid].iter().position(|byte| *byte == 0).unwrap_or(valid);
    let before = String::from_utf8_lossy(&bytes[..at]);
    let begun = before.rsplit('\n').next().unwrap_or_default();
    let line_end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| at + newline);
    let rest = String::from_utf8_lossy(&bytes[at..line_end]);
    let rest = rest.strip_suffix('\r').unwrap_or(&rest);
    let place = Place {
        line: before.matches('\n').count() + 1,
        column: begun.chars().count() + 1,
        length: 1,
        text: without_identities(&format!("{begun}{}", rest.replace('\0', "\u{fffd}"))),
        file,
    };
    Diagnostic::usage("TL0002", format!("the byte 0x{:02x} is not text in UTF-8", bytes[at]))
        .at(place)
        .help("save the file as UTF-8")
}

/// A line as it may be shown: an identity pasted into a file by mistake must not go on into terminals and logs.
pub(super) fn without_identities(text: &str) -> String {
    const IDENTITY: &str = "AGE-SECRET-KEY-";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.to_ascii_uppercase().find(IDENTITY) {
        let (before, identity) = rest.split_at(start + IDENTITY.len());
        let end = identity.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(identity.len());
        shown.push_str(before);
        shown.push_str(&"*".repeat(end));
        rest = &identity[end..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse("t.yaml".to_owned(), PathBuf::new(), text.to_owned()).unwrap()
    }

    fn refused(text: &str) -> Vec<(&'static str, usize, usize)> {
        let findings = Document::parse("t.yaml".to_owned(), PathBuf::new(), text.to_owned()).unwrap_err();
        findings
            .iter()
            .map(|d| (d.code, d.place.as_ref().map_or(0, |p| p.line), d.place.as_ref().map_or(0, |p| p.column)))
            .collect()
    }

    #[test]
    fn places_of_keys_and_values() {
        let document = document("a:\n  - b: 1\n    c/d: &x [two]\n  - *x\n");
        let at = |place: Place| (place.line, place.column, place.length);
        assert_eq!(at(document.at_key("/a")), (1, 1, 1));
        assert_eq!(at(document.at_value("/a/0/b")), (2, 8, 1));
        assert_eq!(at(document.at_key("/a/0/c~1d")), (3, 5, 3));
        // Inside an alias: where it was written.
        assert_eq!(at(document.at_value("/a/1/0")), (3, 14, 3));
        // A key that is missing: the map that lacks it.
        assert_eq!(at(document.at_value("/a/0/nope")).0, 2);
    }

    #[test]
    fn characters_inside_a_value() {
        let marked = |text: &str| {
            let document = document(text);
            let value = document.value()["k"].as_str().unwrap();
            let offset = value.chars().position(|c| c == 'X').unwrap();
            let place = document.inside("/k", offset, 2);
            (place.line, place.text.chars().skip(place.column - 1).take(place.length).collect::<String>())
        };
        for (text, line) in [
            ("k: ab XY", 1),
            ("k: 'it''s XY'", 1),
            (r#"k: "a\t\u00e4\"XY""#, 1),
            ("k: |\n  one\n  two XY\n", 3),
            ("k: >-\n  one\n  two\n\n  three XY\n", 5),
            ("k: one\n  two\n  XY", 3),
            ("k: \"one\n  two\n  XY\"", 3),
            ("k: ä€ XY", 1),
            ("k: \"one \\\n  two XY\"", 2),
            ("k: &a \"one XY\"", 1),
            ("k: &a >-\n  one\n  two XY\n", 3),
            ("k: |-\n  |\n  XY", 3),
            ("k: |-\n\n  XY", 3),
            ("k: |2- # why\n\n    a\n   XY", 4),
            ("k: |-\n  \"a\"\n  XY", 3),
            ("k: \"one\r\n  two XY\"\r\n", 2),
        ] {
            assert_eq!(marked(text), (line, "XY".to_owned()), "{text}");
        }
    }

    #[test]
    fn what_the_language_forbids() {
        assert_eq!(refused("a: 1\nb: 2\na: 3\n"), [("TL0006", 3, 1)]);
        assert_eq!(refused("a:\n\tb: 1\n"), [("TL0007", 2, 1)]);
        assert_eq!(refused("a: !x 1\n"), [("TL0008", 1, 4)]);
        assert_eq!(refused("a: 1\n---\nb: 2\n"), [("TL0009", 2, 1)]);
        assert_eq!(refused("# nothing\n"), [("TL0003", 0, 0)]);
        assert_eq!(refused("a: [1\n")[0].0, "TL0005");
        assert_eq!(refused("1: a\n"), [("TL0010", 1, 1)]);
        assert_eq!(refused("? [a]\n: b\n")[0].0, "TL0010");
        assert_eq!(refused("a: .inf\n")[0].0, "TL0010");
        assert_eq!(refused("<<: {a: 1}\n"), [("TL0103", 1, 1)]);
        assert_eq!(refused("a: &a [*a]\n")[0].0, "TL0005");
        assert_eq!(refused("a: b\rc: d\n"), [("TL0005", 1, 5)]);
        assert_eq!(refused("a: b\r\nc: d\u{2028}\n"), [("TL0005", 2, 5)]);
        assert_eq!(refused(&format!("a: {}{}", "[".repeat(40), "]".repeat(40)))[0].0, "TL0004");
    }

    #[test]
    fn an_alias_bomb_is_refused_by_counting() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..10 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert_eq!(refused(&bomb)[0].0, "TL0004");
    }
}

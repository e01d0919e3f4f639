//! One file, with the files that it extends: what its text means, and where each part of it stands.
//!
//! A relative path is relative to the folder of the file that holds it, in extended files too. A pipeline in git then
//! means the same wherever it is started. For this the document keeps, for each value, the file that holds it. Programs
//! run in the folder of the pipeline itself, whichever file names them.
//!
//! Keys `x-…` are removed before anything looks at the value. They belong to the authors, and are the home of anchors.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value as Json};

use super::align::{Quotes, align};
use super::events;
use super::pointer::escape;
use super::source::{Node, Source, Span};
use crate::diagnostic::{Diagnostic, Location, codes};

/// A file as it was read, with the files that it extends.
#[derive(Debug)]
pub struct Document {
    /// The file itself, then the files that it extends.
    pub(super) sources: Vec<Source>,
    pub(super) value: Json,
    pub(super) nodes: HashMap<String, Node>,
    pub(super) aliases: HashMap<String, String>,
}

impl Document {
    /// Reads a file and the files that it extends. Fails with everything that makes one of them unreadable.
    pub fn read(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let own = Source::read(path, path.display().to_string()).map_err(|found| vec![found])?;
        Self::of(own)?.extended(&mut vec![path.to_owned()], &[])
    }

    /// Reads the texts of a file as they once were: its own, then those that it extended, nearest first.
    pub fn kept(path: &Path, texts: &[Vec<u8>]) -> Result<Self, Vec<Diagnostic>> {
        let text = texts.first().cloned().unwrap_or_default();
        let own = Source::of_bytes(path, path.display().to_string(), text).map_err(|found| vec![found])?;
        Self::of(own)?.extended(&mut vec![path.to_owned()], texts)
    }

    /// Reads a file without the files that it extends, for `migrate`: an edit must change the file's own text. The file
    /// must be a regular file, since it is replaced afterwards.
    pub fn alone(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        Self::of(Source::read_regular(path, path.display().to_string()).map_err(|found| vec![found])?)
    }

    /// Reads a text and ignores its `extends`. Relative paths in it are relative to `folder`.
    pub fn parse(name: String, folder: PathBuf, text: String) -> Result<Self, Vec<Diagnostic>> {
        Self::of(Source::new(name, folder, text))
    }

    pub(super) fn of(source: Source) -> Result<Self, Vec<Diagnostic>> {
        let index = events::index(&source.text, &source.characters);
        let mut findings: Vec<Diagnostic> = index
            .forbidden
            .into_iter()
            .map(|found| {
                let diagnostic = Diagnostic::usage(found.code, found.message).at(source.place(found.span));
                match found.help {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }
            })
            .collect();
        if findings.is_empty() && !index.found {
            findings.push(
                Diagnostic::usage(codes::TL0003, format!("`{}` is empty", source.name))
                    .help("start with `version: 1` and a `name`; the folder `pipelines/` has examples"),
            );
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let (nodes, aliases) = (index.nodes, index.aliases);
        let yaml = serde_yaml::from_str(&source.text).map_err(|error| {
            let byte = error.location().map_or(0, |at| at.index());
            let start = source.text.char_indices().take_while(|(at, _)| *at < byte).count();
            let place = source.place(Span { start, end: start + 1 });
            vec![Diagnostic::usage(codes::TL0005, format!("this is not YAML: {error}")).at(place)]
        })?;
        let mut document = Self { sources: vec![source], value: Json::Null, nodes, aliases };
        let value = document.to_json(yaml, "")?;
        let value = document.merged(value, "").map_err(|found| vec![found])?;
        document.value = without_extensions(value, "");
        Ok(document)
    }

    /// Every pointer that has a place, including those behind aliases.
    #[cfg(test)]
    pub(in crate::pipeline) fn pointers(&self) -> std::collections::BTreeSet<String> {
        let mut all: std::collections::BTreeSet<String> = self.nodes.keys().cloned().collect();
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
        let refuse = |message: String| vec![Diagnostic::usage(codes::TL0010, message).at(self.at_value(pointer))];
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
                            return Err(vec![
                                Diagnostic::usage(codes::TL0010, message).at(at).help("put it in quotes"),
                            ]);
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

    /// The name of the file as the user gave it.
    pub fn name(&self) -> &str {
        &self.sources[0].name
    }

    /// The folder of the file.
    pub fn folder(&self) -> &Path {
        &self.sources[0].folder
    }

    /// The text of the file itself.
    pub fn text(&self) -> &str {
        &self.sources[0].text
    }

    /// Name and text of each file: the file itself, then the files that it extends, nearest first.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().map(|source| (source.name.as_str(), source.text.as_str()))
    }

    /// The folder of the file that holds a value. Relative paths in the value are relative to it.
    pub fn folder_of(&self, pointer: &str) -> &Path {
        &self.sources[self.node(pointer).unwrap_or_default().source].folder
    }

    /// The bytes of the file as they were read.
    pub fn source(&self) -> Vec<u8> {
        self.sources[0].bytes()
    }

    /// Name and bytes of each file as they were read, in the order of [`Self::files`].
    pub fn contents(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        self.sources.iter().map(|source| (source.name.as_str(), source.bytes()))
    }

    pub(in crate::pipeline) fn byte_order_mark(&self) -> &'static str {
        self.sources[0].byte_order_mark()
    }

    /// The characters of the text. Spans index into them.
    pub(in crate::pipeline) fn characters(&self) -> &[char] {
        &self.sources[0].characters
    }

    /// The value of the whole file.
    pub fn value(&self) -> &Json {
        &self.value
    }

    pub(in crate::pipeline) fn place(&self, source: usize, span: Span) -> Location {
        self.sources[source].place(span)
    }

    /// The place of a value. If the pointer leads nowhere, the place of the nearest value around it.
    pub fn at_value(&self, pointer: &str) -> Location {
        let node = self.node(pointer).unwrap_or_default();
        self.place(node.source, node.value)
    }

    /// The place of the key of a value.
    pub fn at_key(&self, pointer: &str) -> Location {
        let node = self.node(pointer).unwrap_or_default();
        self.place(node.source, node.key.unwrap_or(node.value))
    }

    /// The place of some characters of a text value. Accounts for quotes, escapes and folding.
    pub fn inside(&self, pointer: &str, offset: usize, length: usize) -> Location {
        let node = self.node(pointer).unwrap_or_default();
        let characters = &self.sources[node.source].characters;
        let Some(Json::String(value)) = self.value.pointer(pointer) else { return self.place(node.source, node.value) };
        // For an alias, this is the text that it stands for.
        let start = match node.quotes {
            // The span of a block leaves out its empty first lines, but they belong to the value.
            Quotes::Block => {
                let before = &characters[..node.value.start];
                let header = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| last + 1);
                header + before[header..].iter().position(|c| *c == '\n').map_or(0, |newline| newline + 1)
            }
            _ => node.value.start,
        };
        let raw = characters.get(start..node.value.end).unwrap_or_default();
        let Some(from) = align(raw, node.quotes, value, offset) else { return self.place(node.source, node.value) };
        let to = align(raw, node.quotes, value, offset + length.max(1) - 1).map_or(from + 1, |last| last + 1);
        self.place(node.source, Span { start: start + from, end: start + to })
    }

    /// The line of the alias through which a value is reached. `None` if there is no alias.
    pub(in crate::pipeline) fn alias_line(&self, pointer: &str) -> Option<usize> {
        let ends = pointer.match_indices('/').map(|(at, _)| at).chain([pointer.len()]);
        let alias = ends.map(|end| &pointer[..end]).find(|prefix| self.aliases.contains_key(*prefix))?;
        let node = self.nodes.get(alias)?;
        Some(self.place(node.source, node.value).line)
    }

    /// The node of a value, through aliases. `None` if there is no such value.
    pub(in crate::pipeline) fn node_of(&self, pointer: &str) -> Option<Node> {
        self.value.pointer(pointer).and_then(|_| self.node(pointer))
    }

    /// The node of a pointer, through aliases, or of the nearest value around it.
    pub(super) fn node(&self, pointer: &str) -> Option<Node> {
        if let Some(node) = self.nodes.get(pointer) {
            // The value of an alias stands where it was written, its key where the alias stands.
            let target = self.aliases.get(pointer).and_then(|target| self.nodes.get(target)).unwrap_or(node);
            return Some(Node { key: node.key, ..*target });
        }
        let mut prefix = pointer;
        while let Some(cut) = prefix.rfind('/') {
            prefix = &prefix[..cut];
            if let Some(target) = self.aliases.get(prefix) {
                return self.node(&format!("{target}{}", &pointer[prefix.len()..]));
            }
        }
        let parent = &pointer[..pointer.rfind('/')?];
        self.node(parent)
    }
}

/// The value without the keys `x-…` of its maps. `with` and `env` keep them: a header or a metadata key may have such a
/// name.
fn without_extensions(value: Json, key: &str) -> Json {
    match value {
        Json::Object(map) if !matches!(key, "with" | "env") => {
            let kept = map.into_iter().filter(|(key, _)| !key.starts_with("x-"));
            Json::Object(kept.map(|(key, item)| (key.clone(), without_extensions(item, &key))).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(|item| without_extensions(item, "")).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;

    fn document(text: &str) -> Document {
        Document::parse("t.yaml".to_owned(), PathBuf::new(), text.to_owned()).unwrap()
    }

    fn refused(text: &str) -> Vec<(Code, usize, usize)> {
        let findings = Document::parse("t.yaml".to_owned(), PathBuf::new(), text.to_owned()).unwrap_err();
        findings
            .iter()
            .map(|d| (d.code, d.place.as_ref().map_or(0, |p| p.line), d.place.as_ref().map_or(0, |p| p.column)))
            .collect()
    }

    #[test]
    fn places_of_keys_and_values() {
        let document = document("a:\n  - b: 1\n    c/d: &x [two]\n  - *x\n");
        let at = |place: Location| (place.line, place.column, place.length);
        assert_eq!(at(document.at_key("/a")), (1, 1, 1));
        assert_eq!(at(document.at_value("/a/0/b")), (2, 8, 1));
        assert_eq!(at(document.at_key("/a/0/c~1d")), (3, 5, 3));
        // Inside an alias: the place where it was written.
        assert_eq!(at(document.at_value("/a/1/0")), (3, 14, 3));
        // A missing key: the place of the map that lacks it.
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
        assert_eq!(refused("a: 1\nb: 2\na: 3\n"), [(codes::TL0006, 3, 1)]);
        assert_eq!(refused("a:\n\tb: 1\n"), [(codes::TL0007, 2, 1)]);
        assert_eq!(refused("a: !x 1\n"), [(codes::TL0008, 1, 4)]);
        assert_eq!(refused("a: 1\n---\nb: 2\n"), [(codes::TL0009, 2, 1)]);
        assert_eq!(refused("# nothing\n"), [(codes::TL0003, 0, 0)]);
        assert_eq!(refused("a: [1\n")[0].0, codes::TL0005);
        assert_eq!(refused("1: a\n"), [(codes::TL0010, 1, 1)]);
        assert_eq!(refused("? [a]\n: b\n")[0].0, codes::TL0010);
        assert_eq!(refused("a: .inf\n")[0].0, codes::TL0010);
        assert_eq!(refused("a: 1\n<<: 2\n"), [(codes::TL0010, 2, 5)]);
        assert_eq!(refused("\"<<\": {a: 1}\n"), [(codes::TL0010, 1, 1)]);
        assert_eq!(refused("a: &a [*a]\n")[0].0, codes::TL0005);
        assert_eq!(refused("a: b\rc: d\n"), [(codes::TL0005, 1, 5)]);
        assert_eq!(refused("a: b\r\nc: d\u{2028}\n"), [(codes::TL0005, 2, 5)]);
        assert_eq!(refused(&format!("a: {}{}", "[".repeat(40), "]".repeat(40)))[0].0, codes::TL0004);
    }

    #[test]
    fn an_alias_bomb_is_refused_by_counting() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..10 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert_eq!(refused(&bomb)[0].0, codes::TL0004);
    }
}

//! Laws over whole files: both parsers see the same value, and the schema and the checks agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value as Json;

use super::check::{SCHEMA, schema_errors};
use super::load::check_document;
use super::read::{Document, MERGE, escape};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn pointers(value: &Json, at: String, all: &mut BTreeSet<String>) {
    match value {
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| pointers(item, format!("{at}/{index}"), all));
        }
        Json::Object(map) => map.iter().for_each(|(key, item)| pointers(item, format!("{at}/{}", escape(key)), all)),
        _ => {}
    }
    all.insert(at);
}

/// Each letter of each text stands where `inside` says it does.
fn letters_stand_where_they_are_marked(document: &Document, value: &Json, at: &str) {
    match value {
        Json::String(text) => {
            for (offset, letter) in text.chars().enumerate().filter(|(_, c)| c.is_alphanumeric()).take(200) {
                let place = document.inside(at, offset, 1);
                let marked = place.text.chars().nth(place.column - 1);
                // Double quotes may write any letter as an escape, and an identity is not shown.
                assert!(
                    marked == Some(letter) || matches!(marked, Some('\\' | '*')),
                    "{letter:?} of {at}: {marked:?} in {place:?}"
                );
            }
        }
        Json::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
            letters_stand_where_they_are_marked(document, item, &format!("{at}/{index}"));
        }),
        Json::Object(map) => map.iter().for_each(|(key, item)| {
            letters_stand_where_they_are_marked(document, item, &format!("{at}/{}", escape(key)));
        }),
        _ => {}
    }
}

fn agree(document: &Document) {
    let mut of_value = BTreeSet::new();
    pointers(document.value(), String::new(), &mut of_value);
    // What was merged stands at both places; what is people's own stands at none.
    let is_kept = |pointer: &String| !pointer.split('/').any(|part| part == MERGE || part.starts_with("x-"));
    let of_spots: BTreeSet<String> = document.pointers().into_iter().filter(is_kept).collect();
    let of_value: BTreeSet<String> = of_value.into_iter().filter(is_kept).collect();
    assert_eq!(of_spots, of_value, "{}", document.name());
    letters_stand_where_they_are_marked(document, document.value(), "");
}

#[test]
fn both_parsers_see_the_same_in_every_file() {
    let mut readable = 0;
    for path in files("right").iter().chain(&files("wrong")) {
        if let Ok(document) = Document::read(path) {
            readable += 1;
            agree(&document);
        }
    }
    assert!(readable > 250, "{readable}");
}

fn values() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        "[a-z0-9 ]{0,12}",
        "[ \\PC\n\t\"'\\\\:#,{}&*!|>%@`\\[\\]-]{0,24}",
        "(null|true|~|0x1|1e3|-|\\.inf|y)"
    ];
    // Refused, since the parsers differ on them.
    let text = text.prop_map(|text| text.replace(['\u{85}', '\u{2028}', '\u{2029}'], ""));
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1e9..1e9).prop_map(Json::from),
        text.clone().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        // A merge key, and keys that a document leaves out, mean something else than they hold.
        let means_itself = |key: &String| key != "<<" && !key.starts_with("x-");
        let key = text.clone().prop_map(move |key| if means_itself(&key) { key } else { format!("key {key}") });
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_parsers_see_the_same_in_any_value(value in values()) {
        let text = serde_yaml::to_string(&value).unwrap();
        let document = Document::parse("generated.yaml".to_owned(), PathBuf::new(), text.clone());
        let document = document.unwrap_or_else(|findings| panic!("{text:?}: {findings:?}"));
        prop_assert_eq!(document.value(), &value);
        agree(&document);
    }
}

/// Writes a random text with anchors, aliases, merge keys and every style, and what it means.
struct Author {
    random: fastrand::Rng,
    text: String,
    /// The values of `&a0`, `&a1` and so on.
    anchors: Vec<Json>,
    /// Values that may still be written, aliases unfolded.
    left: usize,
}

fn count(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Json::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

impl Author {
    fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), text: String::new(), anchors: Vec::new(), left: 300 }
    }

    fn one_in(&mut self, many: u8) -> bool {
        self.random.u8(..many) == 0
    }

    /// An alias of something that holds.
    fn alias(&mut self, holds: fn(&Json) -> bool) -> Option<Json> {
        let fits: Vec<usize> = (0..self.anchors.len())
            .filter(|&i| holds(&self.anchors[i]) && count(&self.anchors[i]) < self.left)
            .collect();
        let number = *self.random.choice(&fits)?;
        self.left -= count(&self.anchors[number]);
        self.text += &format!("*a{number}");
        Some(self.anchors[number].clone())
    }

    /// Writes the value behind a `:` or a `-`. `indent` is that of what it stands in; none inside of brackets.
    fn value(&mut self, indent: Option<usize>, depth: usize) -> Json {
        self.text.push(' ');
        self.left = self.left.saturating_sub(1);
        if self.one_in(5)
            && let Some(copy) = self.alias(|_| true)
        {
            return copy;
        }
        // It gets its number when it is written: no value holds itself.
        let mark = self.text.len();
        let is_anchor = self.one_in(3);
        let kind = if depth == 0 || self.left == 0 { 0 } else { self.random.u8(..3) };
        let in_flow = indent.filter(|_| !self.one_in(3)).map(|indent| indent + self.random.usize(1..4));
        let value = match (kind, in_flow) {
            (0, _) => self.scalar(indent),
            (1, None) => self.flow('[', ']', depth),
            (_, None) => self.flow('{', '}', depth),
            (1, Some(indent)) => {
                let items = (0..self.random.usize(1..4)).map(|_| {
                    self.text += &format!("\n{}-", " ".repeat(indent));
                    self.value(Some(indent), depth - 1)
                });
                items.collect()
            }
            (_, Some(indent)) => self.map(Some(indent), depth),
        };
        if is_anchor {
            self.text.insert_str(mark, &format!("&a{} ", self.anchors.len()));
            self.anchors.push(value.clone());
        }
        value
    }

    fn flow(&mut self, open: char, close: char, depth: usize) -> Json {
        self.text.push(open);
        let value = if open == '{' {
            self.map(None, depth)
        } else {
            let length = self.random.usize(..4);
            let items = (0..length).map(|item| {
                self.text.push_str(if item > 0 { "," } else { "" });
                self.value(None, depth - 1)
            });
            items.collect()
        };
        self.text.push(close);
        value
    }

    fn map(&mut self, indent: Option<usize>, depth: usize) -> Json {
        let (mut own, mut merged) = (serde_json::Map::new(), serde_json::Map::new());
        let length = self.random.usize(1..5);
        let merge_at = self.random.usize(..length * 2);
        let mut names = ["a", "b", "c/d", "e~f", "'g h'", "\"i\\u00e4\"", "注"];
        self.random.shuffle(&mut names);
        for (number, name) in names.into_iter().take(length).enumerate() {
            let begin = match indent {
                Some(indent) => format!("\n{}", " ".repeat(indent)),
                None => if number > 0 { ", " } else { " " }.to_owned(),
            };
            if number == merge_at {
                let mark = self.text.len();
                self.text += &format!("{begin}<<: ");
                let is_list = self.one_in(3);
                self.text += if is_list { "[" } else { "" };
                let mut sources = Vec::from_iter(self.alias(Json::is_object));
                if is_list && !sources.is_empty() {
                    self.text += ", ";
                    sources.extend(self.alias(Json::is_object));
                }
                self.text += if is_list { "]" } else { "" };
                if sources.is_empty() {
                    self.text.truncate(mark);
                } else {
                    for (key, item) in sources.into_iter().flat_map(|map| map.as_object().unwrap().clone()) {
                        merged.entry(key).or_insert(item);
                    }
                    self.text += if indent.is_none() && number == 0 { "," } else { "" };
                }
            }
            self.text += &format!("{begin}{name}:");
            let value = self.value(indent, depth - 1);
            own.insert(name.trim_matches(['\'', '"']).replace("\\u00e4", "ä"), value);
        }
        merged.extend(own);
        Json::Object(merged)
    }

    fn scalar(&mut self, indent: Option<usize>) -> Json {
        let (text, value) = match (self.random.u8(..9), indent) {
            (0, _) => ("true".to_owned(), Json::Bool(true)),
            (1, _) => ("~".to_owned(), Json::Null),
            (2, _) => ("-17".to_owned(), Json::from(-17)),
            (3, _) => ("'it''s one'".to_owned(), Json::from("it's one")),
            (4, _) => (r#""tab\t, \u00e4 \"x\"""#.to_owned(), Json::from("tab\t, ä \"x\"")),
            (5, Some(at)) => {
                let blanks = " ".repeat(at + 2);
                (format!("|-\n{blanks}one # x\n{blanks}  two"), Json::from("one # x\n  two"))
            }
            (6, Some(at)) => {
                let blanks = " ".repeat(at + 1);
                (format!(">-\n{blanks}one\n{blanks}two\n\n{blanks}注"), Json::from("one two\n注"))
            }
            (7, Some(at)) => (format!("one\n{}two", " ".repeat(at + 1)), Json::from("one two")),
            _ => ("plain text".to_owned(), Json::from("plain text")),
        };
        self.text += &text;
        value
    }
}

#[test]
fn both_parsers_see_the_same_with_anchors_aliases_and_merge_keys() {
    let (mut aliases, mut merges, mut blocks) = (0, 0, 0);
    for seed in 0..500 {
        let mut author = Author::new(seed);
        let value = author.map(Some(0), 5);
        let text = author.text.trim_start_matches('\n').to_owned() + "\n";
        let document = Document::parse("generated.yaml".to_owned(), PathBuf::new(), text.clone());
        let document = document.unwrap_or_else(|findings| panic!("seed {seed}: {findings:#?}\n{text}"));
        assert_eq!(document.value(), &value, "seed {seed}\n{text}");
        agree(&document);
        aliases += text.matches('*').count();
        merges += text.matches("<<:").count();
        blocks += text.matches("|-\n").count();
    }
    assert!(aliases > 500 && merges > 50 && blocks > 50, "{aliases} aliases, {merges} merges, {blocks} blocks");
}

#[test]
fn the_schema_accepts_every_right_file() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/pipeline.v1.schema.json");
    let committed: Json = serde_json::from_str(&fs::read_to_string(committed).unwrap()).unwrap();
    assert!(committed == *SCHEMA, "the schema has changed: `tl schema > schemas/pipeline.v1.schema.json`");
    let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&committed).unwrap();
    for path in files("right") {
        let document = Document::read(&path).unwrap();
        let errors: Vec<String> = validator.iter_errors(document.value()).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

#[test]
fn the_checks_find_what_the_schema_accepts() {
    let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&SCHEMA).unwrap();
    let (mut by_schema, mut by_checks) = (0, 0);
    for path in files("wrong") {
        let Ok(document) = Document::read(&path) else { continue };
        let accepted = validator.is_valid(document.value());
        *(if accepted { &mut by_checks } else { &mut by_schema }) += 1;
        assert_eq!(accepted, validator.iter_errors(document.value()).next().is_none());
        assert!(!accepted || schema_errors(&document).is_empty(), "{}", path.display());
        let name = path.display();
        assert!(check_document(document).is_err(), "{name} is wrong, and nobody says so");
    }
    assert!(by_schema > 100 && by_checks > 80, "by the schema: {by_schema}, by the checks: {by_checks}");
}

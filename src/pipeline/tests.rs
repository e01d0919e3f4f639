//! Two parsers read each file, and a schema and the checks judge it: what holds them together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value as Json;

use super::document::Document;
use super::events::escape;
use super::findings::{SCHEMA, findings};
use super::load::judge;
use super::merge::MERGE;

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
        let key = text.clone().prop_map(|key| if key == "<<" { "merge".to_owned() } else { key });
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
        assert!(!accepted || findings(&document).is_empty(), "{}", path.display());
        let name = path.display();
        assert!(judge(document).is_err(), "{name} is wrong, and nobody says so");
    }
    assert!(by_schema > 100 && by_checks > 80, "by the schema: {by_schema}, by the checks: {by_checks}");
}

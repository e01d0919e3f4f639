//! A kind is known by what it declares: no room asks for it by its name, its settings or its outputs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value as Json;
use timelocker::{channels, stages, storage, vault};

/// The rooms that work with every kind alike.
const ROOMS: &[&str] = &["pipeline", "graph", "engine", "open", "inspect", "notify", "run", "report"];

/// Words that stand for something else where they are, with the reason. This list may only shrink.
const OTHER_MEANINGS: &[(&str, &[&str], &str)] = &[];

/// The names of kinds, and of their settings and outputs at every depth.
fn words() -> BTreeSet<String> {
    fn keys(schema: &Json, found: &mut BTreeSet<String>) {
        match schema {
            Json::Object(map) => {
                found.extend(
                    map.get("properties").and_then(Json::as_object).into_iter().flatten().map(|(key, _)| key.clone()),
                );
                map.values().for_each(|value| keys(value, found));
            }
            Json::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for kind in stages::KINDS.iter() {
        found.insert(kind.name.to_owned());
        keys((kind.schema)(), &mut found);
        keys((kind.outputs)(), &mut found);
    }
    found.extend(storage::KINDS.iter().map(|kind| kind.name.to_owned()));
    found.extend(channels::KINDS.iter().map(|kind| kind.name.to_owned()));
    found.extend(vault::SOURCES.iter().map(|kind| kind.name.to_owned()));
    found
}

/// The code of a file, without comments and tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let body = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n").replace("'\"'", "")
}

/// What a text of code says of the kinds: the words in its literals, and literals that index settings or outputs.
fn said(code: &str, words: &BTreeSet<String>) -> Vec<String> {
    let literal = Regex::new(r#""((?:[^"\\]|\\.)*)""#).unwrap();
    let mut found = Vec::new();
    for text in literal.captures_iter(code).map(|found| found[1].to_owned()) {
        let word = text.strip_prefix('/').unwrap_or(&text);
        let below = ["/with/", "/outputs/"].iter().find_map(|part| text.split_once(part)).map(|(_, key)| key);
        let last = word.rsplit('/').next().filter(|_| text.starts_with('/')).unwrap_or(word);
        if [Some(word), Some(last), below].into_iter().flatten().any(|word| words.contains(word)) {
            found.push(text);
        }
    }
    let index = Regex::new(r#"\b(?:with|outputs)"?\]?(?:\s*\[\s*|\s*\.get\(\s*|\s*\.pointer\(\s*)"([^"]*)""#).unwrap();
    found.extend(index.captures_iter(code).map(|found| found[1].to_owned()));
    found.sort();
    found.dedup();
    found
}

#[test]
fn no_room_asks_for_a_kind_by_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let words = words();
    let (mut broken, mut meant) = (Vec::new(), BTreeSet::new());
    let mut folders: Vec<_> = ROOMS.iter().map(|room| root.join(room)).collect();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.extend((!name.ends_with("/tests")).then_some(path));
                continue;
            }
            // The words of other programs, and those of later versions.
            if path.extension().is_none_or(|extension| extension != "rs")
                || name.ends_with("tests.rs")
                || name.ends_with("/not_built.rs")
            {
                continue;
            }
            for word in said(&code(&path), &words) {
                let other = OTHER_MEANINGS.iter().find(|(file, all, _)| *file == name && all.contains(&&*word));
                match other {
                    Some((file, ..)) => drop(meant.insert((*file, word))),
                    None => broken.push(format!("{name}: {word:?}")),
                }
            }
        }
    }
    broken.sort();
    assert!(broken.is_empty(), "{broken:#?}");
    // An exception that is not needed any more goes.
    let listed = OTHER_MEANINGS.iter().flat_map(|(file, all, _)| all.iter().map(|word| (*file, (*word).to_owned())));
    assert_eq!(listed.collect::<BTreeSet<_>>(), meant);
}

#[test]
fn a_kind_that_is_asked_for_by_name_is_found() {
    let words = words();
    for (code, found) in [
        (r#"stage["uses"] == "upload""#, vec!["upload"]),
        (r#"let key = planned.stage.with.get("anything");"#, vec!["anything"]),
        (r#"stage["with"]["anything"]"#, vec!["anything"]),
        (r#"settings.pointer("/object/store")"#, vec!["/object/store"]),
        (r#"format!("{at}/with/artifact")"#, vec!["{at}/with/artifact"]),
        (r#"outputs.get("new")"#, vec!["new"]),
        (r#"place["uses"] == "dir""#, vec!["dir"]),
        (r#"message("put an `encrypt` stage before it")"#, vec![]),
    ] {
        assert_eq!(said(code, &words), found, "{code}");
    }
}

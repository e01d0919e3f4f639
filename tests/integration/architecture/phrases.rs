//! Phrases that have to be decoded. Write what a colleague would say; the plain word is beside each.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::Regex;

use super::debts;
use crate::support::files;

/// Phrases, in Rust files and in Markdown, and what to write instead.
const PHRASES: &[(&str, &str)] = &[
    (r"\bbut for\b", "except"),
    (r"\bso many\b", "the number"),
    (r"\b(is|are) told\b", "gets a message; is passed; shows"),
    (r"\b(came|comes|come) to\b", "the outcome; ends with"),
    (r"\bgo(es)? on with\b", "continues; resumes"),
    (r"\btaken? back\b", "aborts; removes"),
    (r"\bof no more\b", "no longer"),
    (r"\bwhat becomes of\b", "the result of"),
    (r"\bgone on with\b", "resumed"),
    (r"\bdone anew\b", "repeated"),
    (r"\bnobody will\b", "no run will"),
    (r"\bby whoever\b", "by the caller"),
    (r"\bin the way of\b", "conflicts with"),
    (r"(//[/!]?|\.) Who\b", "name who it is"),
];

/// How often each is still there.
const LEFT: &[(&str, usize)] = &[
    (r"\b(is|are) told\b", 9),
    (r"\b(came|comes|come) to\b", 3),
    (r"\bgo(es)? on with\b", 4),
    (r"\btaken? back\b", 4),
    (r"\bnobody will\b", 1),
    (r"\bin the way of\b", 1),
    (r"(//[/!]?|\.) Who\b", 7),
];

/// The text as one line, in which a comment over several lines has its mark once.
fn unwrapped(text: &str) -> String {
    let mut joined = String::new();
    let mut was_comment = false;
    for line in text.lines().map(str::trim) {
        let words = line.trim_start_matches('/').trim_start_matches('!').trim_start();
        let is_comment = line.starts_with("//");
        joined.push(' ');
        joined.push_str(if is_comment && was_comment { words } else { line }.trim_end_matches('\\').trim_end());
        was_comment = is_comment;
    }
    joined
}

fn count(texts: &[String]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (phrase, _) in PHRASES {
        let pattern = Regex::new(&format!("(?i){phrase}").replace("(?i)(//", "(//")).unwrap();
        let times: usize = texts.iter().map(|text| pattern.find_iter(text).count()).sum();
        if times > 0 {
            found.insert((*phrase).to_owned(), times);
        }
    }
    found
}

#[test]
fn prose_is_plain() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = ["src", "tests", "examples", "benches"]
        .into_iter()
        .flat_map(|folder| files(&root.join(folder)).into_iter().map(move |file| format!("{folder}/{file}")));
    let documents = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_prose =
        |name: &String| (name.ends_with(".rs") || name.ends_with(".md")) && !name.ends_with("architecture/phrases.rs");
    let names: Vec<String> = below.chain(documents).filter(is_prose).collect();
    let texts: Vec<String> =
        names.iter().map(|name| unwrapped(&fs::read_to_string(root.join(name)).unwrap())).collect();
    debts::compare("phrases that have to be decoded", LEFT, &count(&texts));
}

#[test]
fn a_phrase_is_found_across_lines() {
    let texts = [unwrapped(
        "/// All of them, but\n    /// for one. Who\n    /// knows\nlet x = \"he is \\\n    told\"; // Who says\nlet y;",
    )];
    let found = count(&texts);
    let one = |phrase: usize, times| (PHRASES[phrase].0.to_owned(), times);
    assert_eq!(found, BTreeMap::from([one(0, 1), one(2, 1), one(13, 2)]));
}

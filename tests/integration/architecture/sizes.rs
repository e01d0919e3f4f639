//! Sizes of files and folders, what `mod.rs` may hold, `unsafe`, and files that no module names.

use std::collections::BTreeMap;

use super::debts;
use super::sources::{bare, sources};

const LONGEST_FILE: usize = 400;
const LARGEST_FOLDER: usize = 20;

/// Folders that hold more files than that, and how many.
const LARGE_FOLDERS: &[(&str, usize)] = &[];

/// Files that may hold `unsafe`, each with its argument beside it.
const UNSAFE: &[&str] = &["crypto/scrypt.rs"];

#[test]
fn files_stay_readable() {
    let mut broken = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let path = source.path.display();
        if source.lines() > LONGEST_FILE {
            broken.push(format!("{path} has {} lines before its tests", source.lines()));
        }
        if source.code().contains("unsafe") && !UNSAFE.iter().any(|name| source.path.ends_with(name)) {
            broken.push(format!("{path} holds `unsafe`"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_mod_rs_holds_docs_and_re_exports() {
    let holds_code =
        ["fn ", "pub fn ", "const fn ", "struct ", "pub struct ", "pub enum ", "enum ", "impl", "const ", "pub const "];
    let mut broken = Vec::new();
    for folder in ["src", "tests/integration"] {
        for source in sources(folder).iter().filter(|source| source.path.ends_with("mod.rs") && !source.is_test()) {
            if source.code().lines().any(|line| holds_code.iter().any(|word| line.starts_with(word))) {
                broken.push(format!("{folder}/{}", source.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn folders_stay_readable() {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for folder in ["src", "tests/integration"] {
        for source in sources(folder) {
            let parent = source.path.parent().unwrap().display().to_string();
            *found.entry(format!("{folder}/{parent}").trim_end_matches('/').to_owned()).or_default() += 1;
        }
    }
    found.retain(|_, files| *files > LARGEST_FOLDER);
    debts::compare("files of a folder", LARGE_FOLDERS, &found);
}

#[test]
fn every_file_is_a_module() {
    let mut forgotten = Vec::new();
    for (folder, roots) in [("src", ["lib.rs", "main.rs"]), ("tests/integration", ["main.rs", "main.rs"])] {
        let sources = sources(folder);
        for source in &sources {
            let path = source.path.to_str().unwrap();
            if roots.contains(&path) {
                continue;
            }
            let own = path.strip_suffix("/mod.rs").or(path.strip_suffix(".rs")).unwrap();
            let (parent, name) = own.rsplit_once('/').unwrap_or(("", own));
            let places = match parent {
                "" => roots.map(str::to_owned),
                parent => [format!("{parent}/mod.rs"), format!("{parent}.rs")],
            };
            let is_named = sources
                .iter()
                .filter(|source| places.iter().any(|place| source.path.to_str() == Some(place)))
                .any(|source| bare(&source.text).lines().any(|line| line.trim().ends_with(&format!("mod {name};"))));
            if !is_named {
                forgotten.push(format!("{folder}/{path}"));
            }
        }
    }
    assert!(forgotten.is_empty(), "no `mod` names these files, so nothing of them is compiled: {forgotten:#?}");
}

//! No import circle of more than three files.

use std::collections::{BTreeMap, BTreeSet};

use super::debts;
use super::imports::Crate;
use super::sources::{Source, sources};

const LARGEST: usize = 3;

/// Circles that are still there: the folder that they are in, and their files.
const CIRCLES: &[(&str, usize)] = &[];

/// The files of each circle that is too large, by the folder that holds them all.
fn circles(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let krate = Crate::new(sources.iter().filter(|source| !source.is_test()));
    let edges = krate.edges();
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges
        .keys()
        .map(|&from| {
            let mut seen = BTreeSet::new();
            let mut next = vec![from];
            while let Some(file) = next.pop() {
                next.extend(edges[file].iter().copied().filter(|to| seen.insert(*to)));
            }
            (from, seen)
        })
        .collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in edges.keys() {
        let circle: BTreeSet<String> = reached[file]
            .iter()
            .filter(|other| reached[*other].contains(file))
            .map(|other| (*other).to_owned())
            .collect();
        if circle.len() > LARGEST {
            found.entry(folder_of(&circle)).or_default().extend(circle);
        }
    }
    found
}

/// The folder that holds all of these files.
fn folder_of(files: &BTreeSet<String>) -> String {
    let (first, last) = (files.first().expect("a circle has files"), files.last().expect("a circle has files"));
    let parts = first.split('/').zip(last.split('/')).take_while(|(a, b)| a == b && !a.contains('.'));
    parts.map(|(part, _)| part).collect::<Vec<_>>().join("/")
}

#[test]
fn imports_go_round_in_no_large_circle() {
    let found = circles(&sources("src"));
    let counts = found.iter().map(|(folder, files)| (folder.clone(), files.len())).collect();
    debts::compare(&format!("files in import circles, {found:#?}"), CIRCLES, &counts);
}

#[test]
fn a_circle_hidden_by_a_re_export_is_found() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod b; mod c; mod d; mod e; pub use b::B; pub use e::E;"),
        ("a/b.rs", "use super::c::C; pub struct B;"),
        ("a/c.rs", "use super::d::D; pub struct C;"),
        ("a/d.rs", "use super::E; pub struct D;"),
        ("a/e.rs", "use crate::a::B; pub struct E;"),
    ];
    let sources = |count| -> Vec<Source> {
        let files = files.iter().take(count);
        files.map(|(path, text)| Source { path: path.into(), text: (*text).to_owned() }).collect()
    };
    assert_eq!(circles(&sources(6))["a"].len(), 4);
    assert!(circles(&sources(5)).is_empty());
}

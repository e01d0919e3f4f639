//! Reads the imports of Rust files, and finds the file that each leads to, through re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::sources::Source;

type Names = Vec<String>;

/// One name that a `use` brings in.
#[derive(Debug, PartialEq)]
struct Use {
    path: Names,
    /// The name here; `*` for all of a module.
    name: String,
}

/// What a file imports, defines and names.
#[derive(Default)]
struct Module {
    file: usize,
    uses: Vec<Use>,
    /// Paths that stand in the code.
    paths: Vec<Names>,
    defined: BTreeSet<String>,
}

/// What a path leads to: a module, or an item by the number of its file.
enum Found {
    Module(Names),
    Item(usize),
}

/// A name in a module, and whether it ends the path.
type Question = (Names, String, bool);

/// The modules of a crate.
pub struct Crate {
    files: Vec<String>,
    modules: BTreeMap<Names, Module>,
}

impl Crate {
    pub fn new<'s>(sources: impl IntoIterator<Item = &'s Source>) -> Self {
        let (mut files, mut modules) = (Vec::new(), BTreeMap::new());
        for source in sources {
            let mut module = read(&source.code());
            module.file = files.len();
            files.push(source.path.display().to_string());
            modules.insert(module_of(&source.path), module);
        }
        Self { files, modules }
    }

    /// The files that each file imports something from.
    pub fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut edges = BTreeMap::new();
        for (here, module) in &self.modules {
            let to: &mut BTreeSet<&str> = edges.entry(self.files[module.file].as_str()).or_default();
            for path in module.uses.iter().map(|one| &one.path).chain(&module.paths) {
                let found = self.target(here, path);
                to.extend(found.filter(|found| *found != module.file).map(|found| self.files[found].as_str()));
            }
        }
        edges
    }

    /// The file that defines what a path names, where it is one of this crate. A module by itself gives none: its use is seen
    /// where something of it is named.
    fn target(&self, here: &Names, path: &[String]) -> Option<usize> {
        match self.follow(here, path, &mut BTreeSet::new())? {
            Found::Item(file) => Some(file),
            Found::Module(_) => None,
        }
    }

    /// `asked` holds the questions of this search. One that comes again has no other answer: names can be re-exported in a ring.
    fn follow(&self, here: &Names, path: &[String], asked: &mut BTreeSet<Question>) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        let mut found = match first.as_str() {
            "crate" => Found::Module(Vec::new()),
            "self" => Found::Module(here.clone()),
            "super" => Found::Module(here.split_last()?.1.to_vec()),
            name => self.find(here, name, rest.is_empty(), asked)?,
        };
        for (at, name) in rest.iter().enumerate() {
            let Found::Module(module) = found else { break };
            found = match name.as_str() {
                "super" => Found::Module(module.split_last()?.1.to_vec()),
                "*" => Found::Item(self.modules.get(&module)?.file),
                name => self.find(&module, name, at + 1 == rest.len(), asked)?,
            };
        }
        Some(found)
    }

    /// What a name means in a module. An item can have the name of a module beside it; at the end of a path the item is meant.
    fn find(&self, module: &Names, name: &str, is_last: bool, asked: &mut BTreeSet<Question>) -> Option<Found> {
        if !asked.insert((module.clone(), name.to_owned(), is_last)) {
            return None;
        }
        let here = self.modules.get(module)?;
        let child = [module.as_slice(), &[name.to_owned()]].concat();
        let named: Vec<&Use> = here.uses.iter().filter(|one| one.name == name).collect();
        if self.modules.contains_key(&child) && (!is_last || named.is_empty()) {
            return Some(Found::Module(child));
        }
        if here.defined.contains(name) {
            return Some(Found::Item(here.file));
        }
        let found = named.into_iter().find_map(|one| self.follow(module, &one.path, asked));
        found.or_else(|| {
            let mut globs = here.uses.iter().filter(|one| one.name == "*");
            globs.find_map(|one| match self.follow(module, &one.path[..one.path.len() - 1], asked)? {
                Found::Module(other) => self.find(&other, name, is_last, asked),
                Found::Item(_) => None,
            })
        })
    }
}

fn module_of(path: &Path) -> Names {
    let mut names: Names = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|last| last == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

/// The rooms of this crate that a text names: `crate::x`, also in `use crate::{x, y::z}`.
pub fn rooms_named(code: &str) -> BTreeSet<String> {
    let module = read(code);
    let paths = module.uses.into_iter().map(|one| one.path).chain(module.paths);
    paths.filter(|path| path[0] == "crate" && path.len() > 1).map(|path| path[1].clone()).collect()
}

fn tokens(code: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(c) = rest.chars().next() {
        let length = if is_word(c) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

fn read(code: &str) -> Module {
    const ITEMS: [&str; 9] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"];
    let tokens = tokens(code);
    let mut module = Module::default();
    let mut at = 0;
    while at < tokens.len() {
        let is_word = tokens[at].starts_with(|c: char| c.is_alphabetic() || c == '_');
        let follows_path = at > 0 && tokens[at - 1] == "::";
        // `use<'a>` in a type is no import.
        if tokens[at] == "use" && tokens.get(at + 1) != Some(&"<") {
            at = tree(&tokens, at + 1, &[], &mut module.uses);
        } else if ITEMS.contains(&tokens[at]) && at + 1 < tokens.len() {
            let skipped = usize::from(tokens[at + 1] == "!" || tokens[at + 1] == "mut");
            module.defined.extend(tokens.get(at + 1 + skipped).map(|name| (*name).to_owned()));
            at += 1;
        } else if is_word && !follows_path && tokens.get(at + 1) == Some(&"::") {
            let mut path = vec![tokens[at].to_owned()];
            while tokens.get(at + 1) == Some(&"::")
                && let Some(next) = tokens.get(at + 2)
                && next.starts_with(|c: char| c.is_alphabetic() || c == '_')
            {
                path.push((*next).to_owned());
                at += 2;
            }
            module.paths.push(path);
            at += 1;
        } else {
            at += 1;
        }
    }
    module
}

/// Reads one tree of a `use`; the place behind it.
fn tree(tokens: &[&str], mut at: usize, before: &[String], found: &mut Vec<Use>) -> usize {
    let mut path = before.to_vec();
    loop {
        match tokens.get(at).copied() {
            Some("::") => at += 1,
            Some("{") => {
                at += 1;
                while !matches!(tokens.get(at).copied(), Some("}" | ";") | None) {
                    at = tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some("as") => {
                let name = tokens.get(at + 1).copied().unwrap_or_default().to_owned();
                found.push(Use { path, name });
                return at + 2;
            }
            Some(word) if !matches!(word, "," | "}" | ";") => {
                path.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    if path.len() > before.len().max(1) && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(name) = path.last().cloned() {
        found.push(Use { path, name });
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(code: &str) -> Vec<String> {
        read(code).uses.into_iter().map(|one| format!("{} = {}", one.name, one.path.join("::"))).collect()
    }

    fn krate(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = [("lib.rs", "mod a; mod e;")]
            .iter()
            .chain(files)
            .map(|(path, text)| Source { path: path.into(), text: (*text).to_owned() })
            .collect();
        let krate = Crate::new(&sources);
        let edges = krate.edges();
        edges.iter().flat_map(|(from, to)| to.iter().map(move |to| format!("{from} > {to}"))).collect()
    }

    #[test]
    fn nested_trees_and_other_names_are_read() {
        assert_eq!(
            uses("use crate::a::b; pub(crate) use super::{c, d::{self, e as f, g::*}}; use h;"),
            ["b = crate::a::b", "c = super::c", "d = super::d", "f = super::d::e", "* = super::d::g::*", "h = h"]
        );
        let named = rooms_named("use crate::{a, b::{c, d}}; fn f() -> crate::e::G { crate::h() }");
        assert_eq!(named.into_iter().collect::<Vec<_>>(), ["a", "b", "e", "h"]);
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_its_end() {
        let one = [("a/mod.rs", "mod one; mod two; pub use one::One;"), ("a/one.rs", "pub struct One;")];
        let two = |text| krate(&[one[0], one[1], ("a/two.rs", text)]);
        let edges = ["a/mod.rs > a/one.rs", "a/two.rs > a/one.rs"];
        for text in [
            "use super::One;",
            "use crate::a::One;",
            "use super::one::One;",
            "use super::*; fn f(_: One) {}",
            "use crate::a; fn f(_: a::One) {}",
            "use super::one; fn f() { one::One::new() }",
            "fn f() { super::One::new() }",
            "use super::{One as Other};",
        ] {
            assert!(two(text).iter().any(|edge| edge == edges[1]) || text.contains('*'), "{text}: {:?}", two(text));
        }
        assert_eq!(two("use std::fmt; fn f() { fmt::x() }"), [edges[0]]);
    }

    #[test]
    fn a_name_is_found_through_two_re_exports_and_a_glob() {
        let edges = krate(&[
            ("a/mod.rs", "mod b; pub use b::*;"),
            ("a/b/mod.rs", "mod c; pub use c::C as D;"),
            ("a/b/c.rs", "pub enum C {}"),
            ("e.rs", "use crate::a::D;"),
        ]);
        assert!(edges.contains(&"e.rs > a/b/c.rs".to_owned()), "{edges:?}");
    }
}

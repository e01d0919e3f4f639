//! `extends`: a file that builds on another one. Maps merge deeply, lists and scalars replace.
//!
//! A map that names another `uses` or `from` replaces the map that it extends: settings of one kind mean nothing to
//! another. A `policy` that an extended file sets cannot be changed, and neither can a store that it allows. Otherwise a
//! shared rule would bind only those who agree with it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::document::Document;
use super::limits::MAX_EXTENDS;
use super::path::normalized;
use super::pointer::escape;
use super::source::{Node, Source};
use super::version::check_version;
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::Template;

impl Document {
    /// The file merged over the files that it extends. `chain` holds the files read so far, to find circles. `kept` are the texts
    /// of the chain, if they are not to be read from the disk.
    pub(in crate::pipeline) fn extended(
        mut self,
        chain: &mut Vec<PathBuf>,
        kept: &[Vec<u8>],
    ) -> Result<Self, Vec<Diagnostic>> {
        // The schema reports anything that is not a path.
        let Some(Json::String(base)) = self.value.get("extends") else { return Ok(self) };
        if base.is_empty() || Template::is_in(base) {
            return Ok(self);
        }
        let at = self.at_value("/extends");
        let path = normalized(&self.folder().join(base));
        let name =
            normalized(&Path::new(self.name()).parent().unwrap_or(Path::new("")).join(base)).display().to_string();
        let same = |other: &PathBuf| {
            path.canonicalize().is_ok_and(|path| other.canonicalize().is_ok_and(|other| other == path))
        };
        if chain.iter().any(same) {
            let found = Diagnostic::usage(codes::TL0011, format!("`{name}` extends itself, through this file"));
            return Err(vec![found.at(at).help("remove one of the `extends`")]);
        }
        if chain.len() >= MAX_EXTENDS {
            let found = Diagnostic::usage(codes::TL0012, format!("more than {MAX_EXTENDS} files extend each other"));
            return Err(vec![found.at(at).help("join some of them")]);
        }
        let source = match kept.get(chain.len()) {
            Some(text) => Source::of_bytes(&path, name, text.clone()),
            None => Source::read_regular(&path, name),
        };
        let source = source.map_err(|found| match found.place {
            Some(_) => vec![found],
            None => vec![found.at(at)],
        })?;
        chain.push(path);
        let base = Self::of(source)?.extended(chain, kept)?;
        base.is_whole()?;
        self.take_over(base)?;
        Ok(self)
    }

    /// Checks that a file may be extended: it must have a known version of its own.
    fn is_whole(&self) -> Result<(), Vec<Diagnostic>> {
        check_version(self).map_err(|found| vec![found])
    }

    fn take_over(&mut self, base: Self) -> Result<(), Vec<Diagnostic>> {
        let mut found = Vec::new();
        for (key, own) in self.value["policy"].as_object().into_iter().flatten() {
            let theirs = &base.value["policy"][key];
            if !theirs.is_null() && theirs != own {
                let message = format!("`{key}` of `policy` stands in `{}`, and cannot be changed here", base.name());
                let at = self.at_key(&format!("/policy/{}", escape(key)));
                found.push(Diagnostic::usage(codes::TL0407, message).at(at).help("remove it, or change it there"));
            }
        }
        for name in base.value["policy"]["allow-stores"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if base.value["stores"].get(name).is_some() && self.value["stores"].get(name).is_some() {
                let message = format!("the store `{name}` is allowed by `{}`, and cannot be changed here", base.name());
                let at = self.at_key(&format!("/stores/{}", escape(name)));
                found.push(Diagnostic::usage(codes::TL0407, message).at(at).help("remove it, or change it there"));
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let shift = self.sources.len();
        let own = std::mem::take(&mut self.value);
        self.value = self.over(own, base.value.clone(), "", &base, shift);
        self.sources.extend(base.sources);
        Ok(())
    }

    /// `own` merged over `theirs`. Takes over the places of inherited values.
    fn over(&mut self, own: Json, theirs: Json, pointer: &str, base: &Self, shift: usize) -> Json {
        let (Json::Object(mut own), Json::Object(theirs)) = (own.clone(), theirs) else { return own };
        let mut whole = Map::new();
        for (key, theirs) in theirs {
            let at = format!("{pointer}/{}", escape(&key));
            let item = match own.shift_remove(&key) {
                // Settings of one kind mean nothing to another kind.
                Some(own) if is_another_kind(&own, &theirs) => own,
                Some(own) => self.over(own, theirs, &at, base, shift),
                None if pointer.is_empty() && key == "extends" => continue,
                None => {
                    self.take_places(&theirs, &at, base, shift);
                    theirs
                }
            };
            whole.insert(key, item);
        }
        whole.extend(own);
        Json::Object(whole)
    }

    fn take_places(&mut self, value: &Json, pointer: &str, base: &Self, shift: usize) {
        if let Some(node) = base.node(pointer) {
            self.nodes.insert(pointer.to_owned(), Node { source: node.source + shift, ..node });
        }
        match value {
            Json::Object(map) => {
                for (key, item) in map {
                    self.take_places(item, &format!("{pointer}/{}", escape(key)), base, shift);
                }
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.take_places(item, &format!("{pointer}/{index}"), base, shift);
                }
            }
            _ => {}
        }
    }
}

/// Whether two maps are of different kinds. If so, one replaces the other.
fn is_another_kind(own: &Json, theirs: &Json) -> bool {
    let differs = |key: &str| own.get(key).is_some() && theirs.get(key).is_some() && own[key] != theirs[key];
    differs("uses")
        || differs("from")
        || own.get("uses").is_some() && theirs.get("run").is_some()
        || own.get("run").is_some() && theirs.get("uses").is_some()
}

//! Settings that are resolved when a run starts.
//!
//! Times, counts and groups of a run may hold expressions over the values that are known at its start, and over nothing
//! else. The [`Pipeline`] is deserialised once, from their values. Before that, `validate` has an [`Outline`], which
//! lacks these settings, so nothing can run it by mistake.

use std::ops::Deref;

use serde_json::Value as Json;

use super::check::{Checker, is_known_at_start, schema_errors_in};
use super::model::Pipeline;
use super::read::{Document, escape};
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::{self, Template, Values};

/// A checked pipeline without the settings that are known only when a run starts.
#[derive(Clone, Debug)]
pub struct Outline(pub(super) Pipeline);

impl Deref for Outline {
    type Target = Pipeline;

    fn deref(&self) -> &Pipeline {
        &self.0
    }
}

impl Outline {
    /// The pipeline for commands that need only its channels. It must not run.
    pub fn for_messages(self) -> Pipeline {
        self.0
    }

    /// The pipeline with these settings resolved, ready to run. Fails with every value that does not fit its field.
    pub fn settle(self, document: &Document, values: &Values) -> Result<Pipeline, Vec<Diagnostic>> {
        let mut pointers = Vec::new();
        start_expressions(document.value(), "", &mut pointers);
        if pointers.is_empty() {
            return Ok(self.0);
        }
        let mut value = document.value().clone();
        let mut found = Vec::new();
        for pointer in &pointers {
            let Some(Json::String(text)) = value.pointer(pointer) else { continue };
            match Template::parse(text).and_then(|template| expression::resolve(&template, values)) {
                Ok(known) => value.pointer_mut(pointer).into_iter().for_each(|field| *field = known.clone()),
                Err(error) => {
                    let place = document.inside(pointer, error.offset, error.length);
                    let diagnostic = Diagnostic::usage(error.code, error.message).at(place);
                    found.push(error.help.into_iter().fold(diagnostic, Diagnostic::help));
                }
            }
        }
        if found.is_empty() {
            found = schema_errors_in(document, &value);
        }
        if found.is_empty() {
            found = Checker::over(document, &value).literals_only();
        }
        if !found.is_empty() {
            return Err(once(found, document, &pointers));
        }
        serde_json::from_value(value).map_err(|error| vec![difference(document, &error)])
    }
}

/// Merges findings that say the same about the same expression. One wrong input is reported once, however often it is used.
fn once(found: Vec<Diagnostic>, document: &Document, pointers: &[String]) -> Vec<Diagnostic> {
    let expression = |finding: &Diagnostic| {
        let pointer = pointers.iter().find(|pointer| finding.place == Some(document.at_value(pointer)))?;
        document.value().pointer(pointer)?.as_str()
    };
    let mut told: Vec<(Option<&str>, Diagnostic, usize)> = Vec::new();
    for finding in found {
        let text = expression(&finding);
        let is_same = |(other, first, _): &&mut (Option<&str>, Diagnostic, usize)| {
            text.is_some() && *other == text && first.code == finding.code && first.message == finding.message
        };
        match told.iter_mut().find(is_same) {
            Some((.., more)) => *more += 1,
            None => told.push((text, finding, 0)),
        }
    }
    let named = |(_, first, more): (Option<&str>, Diagnostic, usize)| match more {
        0 => first,
        1 => first.label("and the same in another place"),
        more => first.label(format!("and the same in {more} other places")),
    };
    told.into_iter().map(named).collect()
}

/// The file without the settings that hold expressions which are resolved when a run starts.
pub(super) fn without_start_expressions(file: &Json) -> Json {
    let mut pointers = Vec::new();
    start_expressions(file, "", &mut pointers);
    let mut outline = file.clone();
    for pointer in pointers {
        // `concurrency` requires its `group`, so without the group all of it goes.
        let pointer = pointer.strip_suffix("/group").unwrap_or(&pointer);
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = outline.pointer_mut(parent).and_then(Json::as_object_mut) {
            parent.shift_remove(key);
        }
    }
    outline
}

fn start_expressions(value: &Json, pointer: &str, found: &mut Vec<String>) {
    match value {
        Json::String(text) if Template::is_in(text) && is_known_at_start(pointer) => found.push(pointer.to_owned()),
        Json::Object(map) => {
            for (key, item) in map {
                start_expressions(item, &format!("{pointer}/{}", escape(key)), found);
            }
        }
        _ => {}
    }
}

/// The error for a file that the schema accepts and the structs refuse. The schema is derived from the structs, so this is
/// a bug in tl.
pub(super) fn difference(document: &Document, error: &serde_json::Error) -> Diagnostic {
    Diagnostic::usage(codes::TL0902, "the schema accepts this file and the program does not: please report it")
        .cause(error)
        .at(document.at_value(""))
}

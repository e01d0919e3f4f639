use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::diagnostic::Diagnostic;
use crate::expression::Template;

/// The settings of a stage before its run. Values of expressions are unknown.
pub struct Known<'a> {
    value: &'a Json,
    /// JSON pointer below `with`.
    pointer: String,
    files: Files<'a>,
}

/// Which files may be looked at.
#[derive(Clone, Copy)]
enum Files<'a> {
    None,
    /// Those that belong to the pipeline file: its relative paths. The function returns the folder that they are relative to.
    Beside(&'a dyn Fn(&str) -> PathBuf),
    /// Those of the machine, too. Relative paths are relative to this folder.
    All(&'a Path),
}

impl<'a> Known<'a> {
    /// The settings of a stage as its file has them. No file is looked at.
    pub fn new(with: &'a Json) -> Self {
        Self { value: with, pointer: String::new(), files: Files::None }
    }

    /// The same, and files beside the pipeline file may be looked at. `folder_of` returns the folder that a setting, given by its
    /// JSON pointer below `with`, is relative to.
    pub fn with_files(with: &'a Json, folder_of: &'a dyn Fn(&str) -> PathBuf) -> Self {
        Self { files: Files::Beside(folder_of), ..Self::new(with) }
    }

    /// The same on the machine that they are meant for: all files may be looked at. Relative paths are relative to `base`.
    pub fn on_machine(with: &'a Json, base: &'a Path) -> Self {
        Self { files: Files::All(base), ..Self::new(with) }
    }

    /// One setting of a map, if present.
    pub fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key)?;
        Some(Self { value, pointer: format!("{}/{key}", self.pointer), files: self.files })
    }

    /// The items of a list.
    pub fn items(&self) -> impl Iterator<Item = Self> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, value)| Self { value, pointer: format!("{}/{index}", self.pointer), files: self.files })
    }

    fn path(&self) -> Option<PathBuf> {
        let path = Path::new(self.text()?);
        match self.files {
            Files::None => None,
            Files::Beside(folder_of) => path.is_relative().then(|| folder_of(&self.pointer).join(path)),
            Files::All(base) => Some(base.join(path)),
        }
    }

    /// The path of a file that is kept with the pipeline file, such as a list, if it may be looked at.
    pub fn file(&self) -> Option<PathBuf> {
        self.path().filter(|path| is_small(path))
    }

    /// The path of a file that only the machine has, such as one of identities, if it may be looked at.
    pub fn file_of_machine(&self) -> Option<PathBuf> {
        self.source().filter(|path| is_small(path))
    }

    /// The path of a file or folder of the machine, if that may be looked at.
    pub fn source(&self) -> Option<PathBuf> {
        self.path().filter(|_| matches!(self.files, Files::All(_)))
    }

    /// The settings and their base, on the machine that they are meant for and if no expression is in them.
    pub fn on_this_machine(&self) -> Option<(&'a Json, &'a Path)> {
        let Files::All(base) = self.files else { return None };
        (!has_expressions(self.value)).then_some((self.value, base))
    }

    /// The keys of a map. `None` for other values.
    pub fn keys(&self) -> Option<impl Iterator<Item = &'a str>> {
        self.value.as_object().map(|map| map.keys().map(String::as_str))
    }

    /// A text without expressions.
    pub fn text(&self) -> Option<&'a str> {
        self.value.as_str().filter(|text| !Template::is_in(text))
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        *self.value == true
    }

    /// Whether it is `false`.
    pub fn is_false(&self) -> bool {
        *self.value == false
    }
}

fn has_expressions(value: &Json) -> bool {
    match value {
        Json::String(text) => Template::is_in(text),
        Json::Array(items) => items.iter().any(has_expressions),
        Json::Object(map) => map.values().any(has_expressions),
        _ => false,
    }
}

/// Whether reading it ends soon. What is not there is found by who reads it.
fn is_small(path: &Path) -> bool {
    const LARGEST: u64 = 16 << 20;
    path.metadata().map_or(true, |about| about.is_file() && about.len() <= LARGEST)
}

/// A problem of a setting.
pub struct Finding {
    /// JSON pointer to the setting, below `with`.
    pub pointer: String,
    /// Whether the problem is with the setting as a whole, not with its value.
    pub is_at_key: bool,
    /// The problem, without its location.
    pub problem: Diagnostic,
}

/// The problems that a kind finds in its settings.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Reports an invalid value.
    pub fn at_value(&mut self, setting: &Known<'_>, problem: Diagnostic) {
        self.0.push(Finding { pointer: setting.pointer.clone(), is_at_key: false, problem });
    }

    /// Reports a setting whose parts do not fit together.
    pub fn at_key(&mut self, setting: &Known<'_>, problem: Diagnostic) {
        self.0.push(Finding { pointer: setting.pointer.clone(), is_at_key: true, problem });
    }
}

impl IntoIterator for Findings {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

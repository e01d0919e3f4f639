use serde_json::Value as Json;

use crate::diagnostic::Diagnostic;
use crate::expression::Template;

/// Settings as far as a file shows them before a run. The value of an expression is not known.
pub struct Known<'a> {
    value: &'a Json,
    /// JSON pointer below `with`.
    pointer: String,
}

impl<'a> Known<'a> {
    /// The settings of a stage as they stand in its file.
    pub fn new(with: &'a Json) -> Self {
        Self { value: with, pointer: String::new() }
    }

    /// One setting of a map, if it is there.
    pub fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key)?;
        Some(Self { value, pointer: format!("{}/{key}", self.pointer) })
    }

    /// The items of a list.
    pub fn items(&self) -> impl Iterator<Item = Self> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, value)| Self { value, pointer: format!("{}/{index}", self.pointer) })
    }

    /// The keys of a map; `None` if it is none.
    pub fn keys(&self) -> Option<impl Iterator<Item = &'a str>> {
        self.value.as_object().map(|map| map.keys().map(String::as_str))
    }

    /// A text without expressions.
    pub fn text(&self) -> Option<&'a str> {
        self.value.as_str().filter(|text| !Template::is_in(text))
    }

    /// Whether it is `false`.
    pub fn is_false(&self) -> bool {
        *self.value == false
    }
}

/// A problem of a setting.
pub struct Finding {
    /// JSON pointer of the setting below `with`.
    pub pointer: String,
    /// Whether it is about the setting as a whole, and not about its value.
    pub is_at_key: bool,
    /// The problem, without its place.
    pub problem: Diagnostic,
}

/// The problems that a kind finds in its settings.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// A value that cannot be used.
    pub fn at_value(&mut self, setting: &Known<'_>, problem: Diagnostic) {
        self.0.push(Finding { pointer: setting.pointer.clone(), is_at_key: false, problem });
    }

    /// A setting whose parts do not fit together.
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

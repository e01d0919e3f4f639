use serde_json::Value as Json;

use crate::diagnostic::Diagnostic;
use crate::expression::Template;

/// The settings of a stage before its run. Values of expressions are unknown.
pub struct Known<'a> {
    value: &'a Json,
    /// JSON pointer below `with`.
    pointer: String,
}

impl<'a> Known<'a> {
    /// The settings of a stage as its file has them.
    pub fn new(with: &'a Json) -> Self {
        Self { value: with, pointer: String::new() }
    }

    /// One setting of a map, if present.
    pub fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key)?;
        Some(Self { value, pointer: format!("{}/{key}", self.pointer) })
    }

    /// The items of a list.
    pub fn items(&self) -> impl Iterator<Item = Self> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, value)| Self { value, pointer: format!("{}/{index}", self.pointer) })
    }

    /// The keys of a map. `None` for other values.
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

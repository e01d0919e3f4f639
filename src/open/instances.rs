//! The instances of a stage with a matrix. They are known once its needs have ended.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::error::unresolved;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::engine::{Expansion, Instance};
use crate::expression::Values;
use crate::graph::{Planned, combinations};
use crate::pipeline::{Document, MAX_INSTANCES, Matrix, resolve};
use crate::value::Masker;

/// Expands the matrix of a stage. Labels show no secret that the masker knows, and each is the label of one instance.
pub(crate) fn expand(document: &Document, planned: &Planned, values: &Values, masker: &Masker) -> Result<Expansion> {
    let Some(strategy) = &planned.stage.strategy else {
        return Ok(Expansion { instances: Vec::new(), skipped: Vec::new() });
    };
    let at = format!("{}/strategy/matrix", planned.pointer());
    let (lists, include, exclude) = lists(document, &strategy.matrix, &at, values)?;
    // Each `include` may be an instance of its own, and is compared with all combinations: stop before that gets expensive.
    let too_many = include.len() > MAX_INSTANCES;
    let count = lists.iter().map(|(_, items)| items.len()).fold(include.len(), |a, b| a.saturating_mul(b.max(1)));
    let all = if too_many || count > MAX_INSTANCES * MAX_INSTANCES {
        Vec::new()
    } else {
        combinations(&lists, &include, &exclude)
    };
    if too_many || all.len() > MAX_INSTANCES || count > MAX_INSTANCES * MAX_INSTANCES {
        let message = format!("this matrix has more than {MAX_INSTANCES} instances");
        let help = "let one stage do several of these things";
        return Err(Diagnostic::failure(codes::TL0410, message).at(document.at_key(&at)).help(help));
    }
    let is_null = |one: &Map<String, Json>| lists.iter().any(|(name, _)| one.get(name).is_none_or(Json::is_null));
    let skipped = all.iter().enumerate().filter(|(_, one)| is_null(one)).map(|(number, _)| number).collect();
    let labels = told_apart(all.iter().enumerate().map(|(number, one)| masker.mask(&label(number, one))).collect());
    let instance = |(number, (label, one))| Instance { number, label, matrix: Arc::new(Json::Object(one)) };
    Ok(Expansion { instances: labels.into_iter().zip(all).enumerate().map(instance).collect(), skipped })
}

type Lists = (Vec<(String, Vec<Json>)>, Vec<Map<String, Json>>, Vec<Map<String, Json>>);

fn lists(document: &Document, matrix: &Matrix, at: &str, values: &Values) -> Result<Lists> {
    let resolved = |value: &Json, below: &str| {
        let at = format!("{at}/{below}");
        resolve(value, &Json::Null, values, document, &at).map_err(|failure| unresolved(document, &at, failure))
    };
    let mut lists = Vec::new();
    for (name, list) in matrix.axes() {
        match resolved(list, name)? {
            Json::Array(items) => lists.push((name.to_owned(), items)),
            other => {
                let message = format!("the list `{name}` of this matrix came to {}", kind(&other));
                let at = document.at_value(&format!("{at}/{name}"));
                return Err(Diagnostic::failure(codes::TL0310, message).at(at).help("a matrix takes lists"));
            }
        }
    }
    let maps = |entries: Vec<&Json>, which: &str| {
        let maps = entries.into_iter().enumerate().map(|(i, entry)| resolved(entry, &format!("{which}/{i}")));
        maps.map(|map| map.map(|map| map.as_object().cloned().unwrap_or_default())).collect::<Result<Vec<_>>>()
    };
    let include = maps(matrix.include().collect(), "include")?;
    let exclude = maps(matrix.exclude().collect(), "exclude")?;
    Ok((lists, include, exclude))
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

/// The label of an instance: its values if they fit, else its number.
fn label(number: usize, one: &Map<String, Json>) -> String {
    const LONGEST: usize = 60;
    let word = |value: &Json| match value {
        // An empty label is that of the stage itself.
        Json::String(text) if text.is_empty() => Some("\"\"".to_owned()),
        Json::String(text) => Some(text.clone()),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        Json::Null => Some("-".to_owned()),
        _ => None,
    };
    let words: Option<Vec<String>> = one.values().map(word).collect();
    let is_one_line = |label: &String| label.chars().count() <= LONGEST && !label.contains(char::is_control);
    words.map(|words| words.join(", ")).filter(is_one_line).unwrap_or_else(|| format!("#{}", number + 1))
}

/// Adds its number to each label that is not the only one of its text: the journal knows instances by their labels.
fn told_apart(labels: Vec<String>) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    labels.iter().for_each(|label| *counts.entry(label).or_default() += 1);
    let numbered = |(number, label): (usize, &String)| {
        if counts[label.as_str()] > 1 { format!("{label} #{}", number + 1) } else { label.clone() }
    };
    let apart: Vec<String> = labels.iter().enumerate().map(numbered).collect();
    // A value may be spelled like the label that another one got.
    let is_apart = apart.iter().collect::<HashSet<_>>().len() == apart.len();
    if is_apart { apart } else { (1..=labels.len()).map(|number| format!("#{number}")).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_is_the_label_of_one_instance() {
        let apart = |labels: &[&str]| told_apart(labels.iter().map(|&label| label.to_owned()).collect());
        assert_eq!(apart(&["a", "b"]), ["a", "b"]);
        assert_eq!(apart(&["***", "b", "***"]), ["*** #1", "b", "*** #3"]);
        assert_eq!(apart(&["1", "1", "1 #2"]), ["#1", "#2", "#3"]);
    }
}

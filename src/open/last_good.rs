//! The last text of a file that a run used. Its channels tell people of a file that no longer reads.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::files::{absolute, place_of};
use super::loaded::{Loaded, for_messages, input_texts};
use crate::diagnostic::Diagnostic;
use crate::event::Outcome;
use crate::pipeline::{self, Document, Outline, resolve_inputs};
use crate::state::{DbError, Filter, Run, StateDir, Version};

/// The text of a file that a run used last, checked anew, and its version; `None` if no run used it, or if it does not read today.
pub(crate) fn last_good(state: &StateDir, file: &Path) -> Option<((Document, Outline), Version)> {
    last_good_of(state, file, None)
}

/// The same for the pipeline of this name, if one is given.
pub(crate) fn last_good_of(
    state: &StateDir,
    file: &Path,
    pipeline: Option<&str>,
) -> Option<((Document, Outline), Version)> {
    let (versions, place) = (state.peek_versions().ok()??, place_of(file));
    let is_meant = |version: &Version| pipeline.is_none_or(|pipeline| version.pipeline == pipeline);
    let used =
        versions.list(&place).ok()?.into_iter().filter(|version| version.last_used.is_some() && is_meant(version));
    let last = used.max_by(|one, other| one.last_used.cmp(&other.last_used))?;
    let texts = versions.texts(&place, last.number).ok()?;
    let texts: Vec<Vec<u8>> = texts.into_iter().map(|text| text.content).collect();
    Some((pipeline::load_kept(file, &texts).ok()?, last))
}

/// Reads a file for its channels; if it does not read, its last good text. The templates are not checked. Fails with the
/// findings of the file as it is.
pub(crate) fn load_again(state: &StateDir, file: &Path, inputs: Map<String, Json>) -> Result<Loaded, Vec<Diagnostic>> {
    let checked = match pipeline::load(file) {
        Ok(checked) => checked,
        Err(found) => last_good(state, file).ok_or(found)?.0,
    };
    for_messages(checked, file, inputs)
}

/// The runs of a file, the newest first.
pub(crate) fn runs_of(state: &StateDir, file: &Path) -> Result<Vec<Run>, DbError> {
    let filter = Filter { files: Some(vec![place_of(file), absolute(file)]), ..Filter::default() };
    Ok(state.runs()?.map(|runs| runs.list(&filter)).transpose()?.unwrap_or_default())
}

/// The inputs for messages about a file: those of its last run, else its defaults. `runs` are those of the file, newest first.
/// Fails if an input without a default was never given.
pub(crate) fn inputs_of(outline: &Outline, runs: &[Run]) -> Result<Map<String, Json>, Vec<Diagnostic>> {
    // A run that was blocked did not keep its inputs: without its secrets, nobody knows whether they hold one.
    let last_begun = runs.iter().find(|run| run.outcome != Some(Outcome::Blocked));
    let given = last_begun.and_then(|run| run.inputs.as_ref()?.as_object()).map(input_texts).unwrap_or_default();
    // The file may no longer declare the inputs of its last run. Then try its defaults.
    resolve_inputs(&outline.inputs, &given).or_else(|_| resolve_inputs(&outline.inputs, &BTreeMap::new()))
}

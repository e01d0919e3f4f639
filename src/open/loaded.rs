//! A pipeline file, read and checked, with the value of each input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::environment::{RunEnvironment, start_values};
use super::files::absolute;
use super::templates::check_templates;
use crate::diagnostic::Diagnostic;
use crate::graph::Planned;
use crate::pipeline::{self, Document, Outline, Pipeline, resolve_inputs};
use crate::stages::StageKind;

/// A pipeline file that was read and checked, with its inputs.
#[derive(Debug)]
pub struct Loaded {
    /// The text, with the place of each value.
    pub document: Document,
    /// The typed pipeline.
    pub pipeline: Pipeline,
    /// The value of each input.
    pub inputs: Map<String, Json>,
    /// The absolute path of the file.
    pub path: PathBuf,
    /// The environment at that time.
    pub environment: RunEnvironment,
}

/// Reads and checks a file, and the files beside it that it names. Fails with every finding.
pub(crate) fn check(path: &Path) -> Result<(Document, Outline), Vec<Diagnostic>> {
    let (document, pipeline) = pipeline::load(path)?;
    let found = check_files(&document, &pipeline);
    if found.is_empty() { Ok((document, pipeline)) } else { Err(found) }
}

/// Every finding about the files beside a pipeline file: templates of messages, and what its stages name.
pub(crate) fn check_files(document: &Document, outline: &Outline) -> Vec<Diagnostic> {
    let mut found = check_templates(document, outline);
    found.extend(pipeline::check_files(document));
    found
}

/// Reads and checks a file and resolves its inputs. Fails with every finding.
pub(crate) fn load(path: &Path, given: &BTreeMap<String, String>) -> Result<Loaded, Vec<Diagnostic>> {
    settle(check(path)?, path, given)
}

/// Resolves the inputs of a checked file.
pub(crate) fn settle(
    checked: (Document, Outline),
    path: &Path,
    given: &BTreeMap<String, String>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let environment = RunEnvironment::read(&checked.0).map_err(|found| vec![found]);
    // A wrong input is reported before a missing repository: it is the user's nearer mistake.
    resolve_inputs(&checked.1.inputs, given)?;
    settle_with(checked, path, given, environment?)
}

/// Resolved inputs, spelled as `--input` takes them.
pub(crate) fn input_texts(inputs: &Map<String, Json>) -> BTreeMap<String, String> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    inputs.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Resolves the inputs of a checked file in a given environment.
pub(crate) fn settle_with(
    (document, outline): (Document, Outline),
    path: &Path,
    given: &BTreeMap<String, String>,
    environment: RunEnvironment,
) -> Result<Loaded, Vec<Diagnostic>> {
    let inputs = resolve_inputs(&outline.inputs, given)?;
    let pipeline = outline.settle(&document, &start_values(&inputs, &environment))?;
    Ok(Loaded { document, pipeline, inputs, path: absolute(path), environment })
}

/// The folder that relative paths of a stage are meant from: that of the file which names them.
pub(crate) fn base_of<'a>(loaded: &'a Loaded, planned: &Planned) -> &'a Path {
    match planned.stage.kind().and_then(StageKind::reading) {
        Some(reading) => loaded.document.folder_of(&planned.setting(reading.paths)),
        None => loaded.document.folder(),
    }
}

/// Refuses a file that asks for what this version cannot do.
pub(crate) fn runnable(loaded: &Loaded) -> Result<(), Vec<Diagnostic>> {
    let found = pipeline::elsewhere(&loaded.document, &loaded.pipeline);
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Loads a checked file for its channels only.
pub(crate) fn for_messages(
    (document, outline): (Document, Outline),
    path: &Path,
    inputs: Map<String, Json>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let environment = RunEnvironment::read(&document).map_err(|found| vec![found])?;
    Ok(Loaded { document, pipeline: outline.for_messages(), inputs, path: absolute(path), environment })
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::versions::with_last_good;
use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::open::{check_files, read_secrets, settle, yaml_files_below};
use crate::pipeline::{self, Document, Pipeline, is_pipeline, warnings};
use crate::value::Cancel;

/// The options of a validation.
#[derive(Debug, Default)]
pub struct ValidateOptions<'a> {
    /// Inputs to check, if any are given.
    pub inputs: BTreeMap<String, String>,
    /// Whether to read every secret.
    pub secrets: bool,
    /// The state folder, if one was named. It has the last good text of a file.
    pub state: Option<&'a Path>,
}

/// One finding and its file.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The file, as the user named it or its folder; none if the command line is wrong.
    pub file: Option<String>,
    /// The finding. Its place may be in a file that this one extends.
    #[serde(flatten)]
    pub problem: Diagnostic,
}

impl Finding {
    /// The file to look at.
    pub fn file(&self) -> Option<&str> {
        self.problem.place.as_ref().map(|place| place.file.as_str()).or(self.file.as_deref())
    }
}

/// The result of a validation.
#[derive(Debug, Default, Serialize)]
pub struct Validation {
    /// The files that were checked, in order.
    pub files: Vec<String>,
    /// The number of YAML files below the given folders that are no pipelines.
    pub passed_over: usize,
    /// All findings, by file, place and code.
    pub findings: Vec<Finding>,
}

impl Validation {
    /// A validation that was refused, because the command line is wrong.
    pub fn refused(problems: Vec<Diagnostic>) -> Self {
        let findings = problems.into_iter().map(|problem| Finding { file: None, problem }).collect();
        Self { findings, ..Self::default() }
    }

    /// The number of findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.problem.severity == severity).count()
    }

    /// The files without findings.
    pub fn sound(&self) -> impl Iterator<Item = &String> {
        self.files.iter().filter(|file| !self.findings.iter().any(|finding| finding.file.as_ref() == Some(*file)))
    }

    fn find(&mut self, path: &Path, problems: impl IntoIterator<Item = Diagnostic>) {
        let file = path.display().to_string();
        self.findings.extend(problems.into_iter().map(|problem| Finding { file: Some(file.clone()), problem }));
    }

    fn pipelines_below(&mut self, folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut others = 0;
        for path in yaml_files_below(folder, &mut |path, error| self.find(path, [unreadable(path, &error)])) {
            match is_pipeline(&path) {
                Ok(true) => found.push(path),
                Ok(false) => others += 1,
                Err(problem) => self.find(&path, [problem]),
            }
        }
        if found.is_empty() {
            let message = format!("there is no pipeline below `{}`", folder.display());
            let help = "a pipeline is a `.yaml` or `.yml` file with `version:` at its top; hidden folders and symbolic links \
                        are not looked at";
            self.find(folder, [Diagnostic::usage(codes::TL0725, message).help(help)]);
        }
        self.passed_over += others;
        found
    }
}

/// Checks files, and every pipeline below folders, each once.
pub fn validate(paths: &[PathBuf], options: &ValidateOptions<'_>) -> Validation {
    let mut validation = Validation::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        let files = if path.is_dir() { validation.pipelines_below(path) } else { vec![path.clone()] };
        for file in files {
            // A missing file cannot be canonicalised and is reported under its given name.
            if seen.insert(fs::canonicalize(&file).unwrap_or_else(|_| file.clone())) {
                validation.files.push(file.display().to_string());
                validation.find(&file, problems_of(&file, options));
            }
        }
    }
    let place =
        |finding: &Finding| (finding.file().map(str::to_owned), finding.problem.place.clone(), finding.problem.code);
    validation.findings.sort_by_cached_key(place);
    // Files that extend the same base share its findings.
    let same = |a: &Finding, b: &Finding| place(a) == place(b) && a.problem.message == b.problem.message;
    validation.findings.dedup_by(|a, b| same(a, b));
    validation
}

fn problems_of(path: &Path, options: &ValidateOptions<'_>) -> Vec<Diagnostic> {
    let (document, pipeline) = match pipeline::load(path) {
        Ok(sound) => sound,
        Err(problems) => return with_last_good(problems, options.state, path),
    };
    let mut found = check_files(&document, &pipeline);
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    found.extend(warnings(&document, &pipeline, &device));
    if options.secrets {
        // Secrets do not depend on inputs, so the outline suffices.
        found.extend(read_secrets(&document, &pipeline, &Cancel::default()).missing);
    }
    if !options.inputs.is_empty() {
        let place = declared_inputs(&document, &pipeline);
        let placed = |problem: Diagnostic| if problem.place.is_some() { problem } else { problem.at(place.clone()) };
        if let Err(problems) = settle((document, pipeline), path, &options.inputs) {
            found.extend(problems.into_iter().map(placed));
        }
    }
    found
}

/// The place reported for a wrong input.
fn declared_inputs(document: &Document, pipeline: &Pipeline) -> crate::diagnostic::Location {
    if pipeline.inputs.is_empty() { document.at_value("/name") } else { document.at_key("/inputs") }
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::usage(codes::TL0726, format!("`{}` cannot be looked through", path.display()))
        .cause(error)
        .help("let this user read it, or name the files instead of their folder")
}

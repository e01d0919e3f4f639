use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::message::check_templates;
use super::prepare::{read_secrets, settle};
use super::versions::with_last_good;
use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::pipeline::{self, Document, Pipeline, is_pipeline, warnings};
use crate::value::Cancel;

/// How thorough a validation is.
#[derive(Debug, Default)]
pub struct Thorough<'a> {
    /// Inputs that must fit, if any are given.
    pub inputs: BTreeMap<String, String>,
    /// Whether every secret must be there.
    pub secrets: bool,
    /// The state folder, if one was named: it knows the last good text of a file.
    pub state: Option<&'a Path>,
}

/// One thing that was found, and the file in which it was.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The file, as the user named it or its folder; none where the command line itself is wrong.
    pub file: Option<String>,
    /// What was found. Its place may be in another file that this one is made of.
    #[serde(flatten)]
    pub problem: Diagnostic,
}

impl Finding {
    /// The file that a person should look at.
    pub fn file(&self) -> Option<&str> {
        self.problem.place.as_ref().map(|place| place.file.as_str()).or(self.file.as_deref())
    }
}

/// What a validation came to.
#[derive(Debug, Default, Serialize)]
pub struct Validation {
    /// The files that were looked at, in order.
    pub files: Vec<String>,
    /// How many YAML files below the given folders are no pipelines.
    pub passed_over: usize,
    /// All findings, by file, place and code.
    pub findings: Vec<Finding>,
}

impl Validation {
    /// One that ended before it began.
    pub fn refused(problems: Vec<Diagnostic>) -> Self {
        let findings = problems.into_iter().map(|problem| Finding { file: None, problem }).collect();
        Self { findings, ..Self::default() }
    }

    /// How many findings are so bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.problem.severity == severity).count()
    }

    /// The files in which nothing was found.
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

/// Proves files, and every pipeline below folders, each once.
pub fn validate(paths: &[PathBuf], thorough: &Thorough<'_>) -> Validation {
    let mut validation = Validation::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        let files = if path.is_dir() { validation.pipelines_below(path) } else { vec![path.clone()] };
        for file in files {
            // What is not there is told under the name it was given.
            if seen.insert(fs::canonicalize(&file).unwrap_or_else(|_| file.clone())) {
                validation.files.push(file.display().to_string());
                validation.find(&file, problems_of(&file, thorough));
            }
        }
    }
    let place =
        |finding: &Finding| (finding.file().map(str::to_owned), finding.problem.place.clone(), finding.problem.code);
    validation.findings.sort_by_cached_key(place);
    // What several files share is one mistake.
    let same = |a: &Finding, b: &Finding| place(a) == place(b) && a.problem.message == b.problem.message;
    validation.findings.dedup_by(|a, b| same(a, b));
    validation
}

fn problems_of(path: &Path, thorough: &Thorough<'_>) -> Vec<Diagnostic> {
    let (document, pipeline) = match pipeline::load(path) {
        Ok(sound) => sound,
        Err(problems) => return with_last_good(problems, thorough.state, path),
    };
    let mut found = check_templates(&document, &pipeline);
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    found.extend(warnings(&document, &pipeline, &device));
    if thorough.secrets {
        // No secret comes from an input.
        found.extend(read_secrets(&document, &pipeline, &Cancel::default()).missing);
    }
    if !thorough.inputs.is_empty() {
        let place = declared_inputs(&document, &pipeline);
        let placed = |problem: Diagnostic| if problem.place.is_some() { problem } else { problem.at(place.clone()) };
        if let Err(problems) = settle((document, pipeline), path, &thorough.inputs) {
            found.extend(problems.into_iter().map(placed));
        }
    }
    found
}

/// Where somebody looks who gave a wrong input.
fn declared_inputs(document: &Document, pipeline: &Pipeline) -> crate::diagnostic::Place {
    if pipeline.inputs.is_empty() { document.at_value("/name") } else { document.at_key("/inputs") }
}

/// In the order of their paths.
pub(super) fn yaml_files_below(folder: &Path, failed: &mut dyn FnMut(&Path, io::Error)) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> = match entries {
        Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
        Err(error) => {
            failed(folder, error);
            return Vec::new();
        }
    };
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        match fs::symlink_metadata(&path).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() && !is_hidden => found.extend(yaml_files_below(&path, failed)),
            Ok(kind) if kind.is_file() && is_yaml => found.push(path),
            Ok(_) => {}
            Err(error) => failed(&path, error),
        }
    }
    found
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::usage(codes::TL0726, format!("`{}` cannot be looked through", path.display()))
        .cause(error)
        .help("let this user read it, or name the files instead of their folder")
}

//! The files that a run would take now, and why one of them is left out.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::stage;
use crate::diagnostic::{Diagnostic, Result};
use crate::graph::Plan;
use crate::open::Loaded;
use crate::source::{Seen, Selection, Verdict, each, why};

/// How many of the largest files are named.
const LARGEST: usize = 10;

/// What a stage would take now. Paths that are no text are shown with replacement characters.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StageFiles {
    /// The stage.
    pub stage: String,
    /// Whether its settings are known only when the run reaches it. Then nothing else is.
    pub unknown: bool,
    /// Entries other than directories, in the order of the walk.
    pub files: Vec<FileSize>,
    /// Their bytes.
    pub bytes: u64,
    /// The largest of them, the largest first.
    pub largest: Vec<FileSize>,
    /// What rules leave out; of a folder, not its content.
    pub left_out: Vec<LeftOut>,
    /// What cannot be examined.
    pub unreadable: Vec<String>,
    /// Sources that do not exist.
    pub missing: Vec<String>,
    /// Patterns that decided about nothing.
    pub unused: Vec<String>,
}

/// A file and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSize {
    /// Its path.
    pub path: String,
    /// Its bytes; 0 for a further name of a file.
    pub bytes: u64,
}

/// An entry that a rule leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its path.
    pub path: String,
    /// The rule.
    pub rule: String,
}

/// What a stage would do with one path.
#[derive(Clone, Debug, Serialize)]
pub struct StageWhy {
    /// The stage.
    pub stage: String,
    /// The path.
    pub path: PathBuf,
    /// Whether it would be taken; none if the settings of the stage are known only when the run reaches it.
    #[serde(flatten)]
    pub verdict: Option<Verdict>,
}

/// Lists what each stage that reads files would take now. Fails for a selection that every run would refuse.
pub fn plan_files(loaded: &Loaded, state: Option<&Path>) -> Result<Vec<StageFiles>> {
    let of = |(stage, selection): (String, Option<Selection>)| match selection {
        Some(selection) => files_of(stage, &selection),
        None => Ok(StageFiles { stage, unknown: true, ..StageFiles::default() }),
    };
    selections(loaded, state)?.into_iter().map(of).collect()
}

/// Says for each stage that reads files whether it would take this path now, and why. Fails as [`plan_files`] does.
pub fn plan_why(loaded: &Loaded, state: Option<&Path>, path: &Path) -> Result<Vec<StageWhy>> {
    let of = |(stage, selection): (String, Option<Selection>)| {
        let verdict = selection.map(|selection| why(&selection, path)).transpose()?;
        Ok(StageWhy { stage, path: path.to_owned(), verdict })
    };
    selections(loaded, state)?.into_iter().map(of).collect()
}

fn selections(loaded: &Loaded, state: Option<&Path>) -> Result<Vec<(String, Option<Selection>)>> {
    let plan = Plan::new(&loaded.pipeline);
    let reads = plan.stages.iter().filter(|planned| planned.stage.kind().is_some_and(|kind| kind.reading().is_some()));
    reads.map(|planned| Ok((planned.name.clone(), stage::selection(loaded, state, planned)?))).collect()
}

fn files_of(stage: String, selection: &Selection) -> Result<StageFiles> {
    let mut found = StageFiles { stage, ..StageFiles::default() };
    let text = |path: &Path| path.display().to_string();
    let told = each(selection, &mut |seen| {
        match seen {
            Seen::Taken(path, bytes) => {
                found.bytes += bytes;
                found.files.push(FileSize { path: text(path), bytes });
            }
            Seen::LeftOut(path, rule) => found.left_out.push(LeftOut { path: text(path), rule }),
            Seen::Unreadable(path, _) => found.unreadable.push(text(path)),
            Seen::Missing(path) => found.missing.push(text(path)),
            Seen::Unused(pattern) => found.unused.push(pattern),
        }
        true
    });
    told.map_err(Diagnostic::from)?;
    let mut largest: Vec<&FileSize> = found.files.iter().collect();
    largest.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&other.path)));
    found.largest = largest.into_iter().take(LARGEST).cloned().collect();
    Ok(found)
}

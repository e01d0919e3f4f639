//! What stages need of the machine: the files that their settings name, and the programs that they run.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::examine::{DoctorItem, item, tried};
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::Template;
use crate::graph::{Plan, Planned, Selection};
use crate::inspect::plan::{known_settings, skipped};
use crate::open::{Loaded, base_of};
use crate::pipeline::{Run, paths_in};
use crate::process::{find_program, unstartable};
use crate::stages::{Findings, Known, StageKind};
use crate::storage::{Check, CheckResult};

/// The stages that need something.
pub(super) fn stages(loaded: &Loaded) -> Vec<DoctorItem> {
    let plan = Plan::select(&loaded.pipeline, &Selection::All);
    let skipped = skipped(loaded);
    let tried = |planned: &Planned| {
        if skipped.contains(&planned.name) {
            return None;
        }
        let trials = match planned.stage.kind() {
            Some(kind) => files(loaded, planned, kind),
            None => program(loaded, planned).into_iter().collect(),
        };
        (!trials.is_empty()).then(|| item("stage", &planned.name, planned.stage.kind_name(), trials))
    };
    plan.stages.iter().filter_map(tried).collect()
}

/// The files that the settings of a stage name. What an expression names is known when it runs.
fn files(loaded: &Loaded, planned: &Planned, kind: &StageKind) -> Vec<Check> {
    let with = known_settings(loaded, planned);
    let paths = paths_in(&with.value, (kind.schema)());
    if kind.reading().is_none() && paths.is_empty() {
        return Vec::new();
    }
    let mut found = Findings::default();
    (kind.check_files)(&Known::on_machine(&with.value, base_of(loaded, planned)), &mut found);
    let failed: Vec<Check> = found.into_iter().map(|found| tried("files", Err(found.problem))).collect();
    let is_later = kind.reading().is_some() && !with.unknown.is_empty()
        || paths.iter().any(|path| Template::is_in(&path.to_string_lossy()));
    if !failed.is_empty() {
        failed
    } else if is_later {
        let detail = "what it needs is known when it runs".to_owned();
        vec![Check { what: "files", result: CheckResult::Unknown, detail }]
    } else {
        vec![tried("files", Ok("what its settings name is there".to_owned()))]
    }
}

/// The program of a `run` stage, if its name holds no expression.
fn program(loaded: &Loaded, planned: &Planned) -> Option<Check> {
    let name = match planned.stage.run.as_ref()? {
        Run::Script(_) => planned.stage.shell.as_deref().unwrap_or("sh"),
        Run::Argv(argv) => argv.first()?,
    };
    let path = planned.stage.env.get("PATH").map(|path| path.as_str().unwrap_or_default());
    if [Some(name), path].into_iter().flatten().any(Template::is_in) {
        let detail = "its name is known when it runs".to_owned();
        return Some(Check { what: "program", result: CheckResult::Unknown, detail });
    }
    let found = find_program(name, loaded.document.folder(), path.map(OsStr::new));
    let missing = || {
        Diagnostic::failure(codes::TL0650, format!("`{name}` could not be started"))
            .help("install it, or write its whole path")
    };
    let startable = |path: PathBuf| match unstartable(&path) {
        None => Ok(path.display().to_string()),
        Some(why) => Err(Diagnostic::failure(codes::TL0650, format!("the program `{}` {why}", path.display()))),
    };
    Some(tried("program", found.ok_or_else(missing).and_then(startable)))
}

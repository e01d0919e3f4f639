//! What stages need of the machine: the files that their settings name, and the programs that they run.

use std::ffi::OsStr;

use super::examine::{DoctorItem, item, tried};
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::Template;
use crate::graph::{Plan, Planned, Selection};
use crate::inspect::plan::known_settings;
use crate::open::{Loaded, base_of};
use crate::pipeline::{Run, paths_in};
use crate::process::find_program;
use crate::stages::{Findings, Known, StageKind};
use crate::storage::{Check, CheckResult};

/// The stages that need something.
pub(super) fn stages(loaded: &Loaded) -> Vec<DoctorItem> {
    let plan = Plan::select(&loaded.pipeline, &Selection::All);
    let tried = |planned: &Planned| {
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
    if kind.reading().is_none() && paths_in(&with.value, (kind.schema)()).is_empty() {
        return Vec::new();
    }
    let mut found = Findings::default();
    (kind.check_files)(&Known::on_machine(&with.value, base_of(loaded, planned)), &mut found);
    let failed: Vec<Check> = found.into_iter().map(|found| tried("files", Err(found.problem))).collect();
    match (failed.is_empty(), with.unknown.is_empty()) {
        (false, _) => failed,
        (true, _) => vec![tried("files", Ok("what its settings name is there".to_owned()))],
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
    Some(tried("program", found.map(|path| path.display().to_string()).ok_or_else(missing)))
}

use crate::diagnostic::Location;
use crate::graph::{Plan, Planned};
use crate::open::Loaded;

/// A stage as its file declares it.
#[derive(Clone, Debug)]
pub struct StageEntry {
    /// Its name.
    pub name: String,
    /// Its kind, or `run`.
    pub kind: String,
    /// The stages that it needs.
    pub needs: Vec<String>,
    /// The place of its name.
    pub place: Location,
}

/// The stages of a loaded pipeline in the order of the file, `finally` last.
pub fn stage_entries(loaded: &Loaded) -> Vec<StageEntry> {
    let plan = Plan::new(&loaded.pipeline);
    let entry = |planned: &Planned| StageEntry {
        name: planned.name.clone(),
        kind: planned.stage.kind_name().to_owned(),
        needs: planned.needs.iter().map(|&need| plan.stages[need].name.clone()).collect(),
        place: loaded.document.at_key(&planned.pointer()),
    };
    plan.stages.iter().map(entry).collect()
}

//! Artifacts in files of the work folder.

use std::collections::HashMap;

use super::work::PipelineWork;
use crate::engine::Attempt;
use crate::stages::Flow;
use crate::stages::artifact::{ArtifactRef, Sink, Source, Spool};

impl PipelineWork {
    /// The artifacts in files that a stage can open.
    pub(super) fn spooled_needs(&self, stage: usize) -> HashMap<ArtifactRef, Source> {
        let memory = self.memory();
        let needs = &self.plan.stages[stage].needs;
        memory
            .spools
            .iter()
            .filter(|((need, _), _)| needs.contains(need))
            .map(|(&(need, instance), spool)| (ArtifactRef::of(&self.key(need, instance)), Source::File(spool.clone())))
            .collect()
    }

    /// The digests of the artifacts that a stage can open, for its key.
    pub(super) fn digests_of_needs(&self, stage: usize) -> Vec<String> {
        let needs = &self.plan.stages[stage].needs;
        let memory = self.memory();
        let needed = memory.spools.iter().filter(|((need, _), _)| needs.contains(need));
        needed
            .map(|(&(need, instance), spool)| {
                let digest = spool.digest().map(|digest| digest.to_string()).unwrap_or_default();
                format!("{}: {digest}", self.key(need, instance))
            })
            .collect()
    }

    /// The artifact of a stage, if it is in a file.
    pub(super) fn spool_of(&self, stage: usize, instance: Option<usize>) -> Option<Spool> {
        self.memory().spools.get(&(stage, instance)).cloned()
    }

    /// Sets the artifact of a stage to one of an earlier session.
    pub(super) fn keep_spool(&self, stage: usize, instance: Option<usize>, spool: Spool) {
        self.memory().spools.insert((stage, instance), spool);
    }

    /// A new file for the artifact of the last stage of a chain; none if the stage produces none. The name holds session and
    /// attempt: a file is never written twice.
    pub(super) fn spool(&self, stage: usize, attempt: &Attempt) -> Option<Sink> {
        if !matches!(self.plan.flow(stage), Flow::Source | Flow::Filter) {
            return None;
        }
        let instance = attempt.instance.as_ref().map(|instance| instance.number);
        let name = format!("{}-{}-{}.artifact", self.key(stage, instance), self.session(), attempt.number);
        let spool = Spool::new(self.folder.join(name));
        self.memory().spools.insert((stage, instance), spool.clone());
        Some(Sink::File(spool))
    }
}

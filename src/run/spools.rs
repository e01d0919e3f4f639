//! The artifacts of a run that lie in files of its work folder.

use std::collections::HashMap;

use super::work::PipelineWork;
use crate::engine::Attempt;
use crate::stages::Flow;
use crate::stages::artifact::{ArtifactRef, Sink, Source, Spool};

impl PipelineWork {
    /// The artifacts in files that a stage may open.
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

    /// What the artifacts in files are that a stage may open.
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

    /// The artifact of a stage, where it lies in a file.
    pub(super) fn spool_of(&self, stage: usize, instance: Option<usize>) -> Option<Spool> {
        self.memory().spools.get(&(stage, instance)).cloned()
    }

    /// Takes an artifact of an earlier session for that of a stage.
    pub(super) fn keep_spool(&self, stage: usize, instance: Option<usize>, spool: Spool) {
        self.memory().spools.insert((stage, instance), spool);
    }

    /// A file for the artifact of a stage that gives one, at the end of its chain.
    pub(super) fn spool(&self, stage: usize, attempt: &Attempt) -> Option<Sink> {
        if !matches!(self.flow(stage), Flow::Source | Flow::Filter) {
            return None;
        }
        let instance = attempt.instance.as_ref().map(|instance| instance.number);
        let name = format!("{}-{}-{}.artifact", self.key(stage, instance), self.session(), attempt.number);
        let spool = Spool::new(self.folder.join(name));
        self.memory().spools.insert((stage, instance), spool.clone());
        Some(Sink::File(spool))
    }
}

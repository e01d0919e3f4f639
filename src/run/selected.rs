//! Stages that the selection leaves out: they are skipped.

use std::collections::BTreeSet;

use super::work::PipelineWork;
use crate::diagnostic::Result;
use crate::event::Outcome;
use crate::graph::Part;
use crate::graph::outcome::{Ended, OwnEnd};

impl PipelineWork {
    /// The part of a unit in the selection. Its stages have the same one, except that a single stage may be asked for.
    pub(super) fn part(&self, unit: usize) -> Part {
        let parts = || self.plan.units[unit].stages.iter().map(|&stage| self.plan.stages[stage].part);
        if parts().any(|part| part == Part::Asked) { Part::Asked } else { parts().next().unwrap_or_default() }
    }

    /// Skips the stages of a unit.
    pub(super) fn leave_out(&self, stages: &[usize]) -> Vec<Ended> {
        self.memory().left_out.extend(stages);
        stages.iter().map(|&stage| Ended { stage, end: OwnEnd::LeftOut }).collect()
    }

    /// The answer to a question about a stage before it starts. If the stage is left out, an error becomes `otherwise`: a stage
    /// that nobody asked for must not fail the run.
    pub(super) fn unless_left_out<T>(&self, stage: usize, answer: Result<T>, otherwise: T) -> Result<T> {
        match answer {
            Err(_) if self.plan.stages[stage].part == Part::LeftOut => {
                self.memory().left_out.insert(stage);
                Ok(otherwise)
            }
            answer => answer,
        }
    }

    /// The names of the stages that the selection left out, and of skipped stages that need them.
    pub(super) fn names_left_out(&self, outcomes: &[Outcome]) -> Vec<String> {
        let mut left_out: BTreeSet<usize> = self.memory().left_out.clone();
        loop {
            let known = left_out.len();
            for (stage, planned) in self.plan.stages.iter().enumerate() {
                let is_skipped = planned.part == Part::LeftOut && outcomes[stage] == Outcome::Skipped;
                if is_skipped && planned.needs.iter().any(|need| left_out.contains(need)) {
                    left_out.insert(stage);
                }
            }
            // Repeat until nothing changes: a file may list a stage before its needs.
            if left_out.len() == known {
                break;
            }
        }
        left_out.into_iter().map(|stage| self.plan.stages[stage].name.clone()).collect()
    }
}

//! What a run does of the stages that its selection leaves out: nothing.

use std::collections::BTreeSet;

use super::work::PipelineWork;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::engine::Ended;
use crate::event::Outcome;
use crate::graph::Part;

impl PipelineWork {
    /// What the selection has to do with a unit; the same for all stages of it, but that one alone may be asked for.
    pub(super) fn part(&self, unit: usize) -> Part {
        let parts = || self.plan.units[unit].stages.iter().map(|&stage| self.plan.stages[stage].part);
        if parts().any(|part| part == Part::Asked) { Part::Asked } else { parts().next().unwrap_or_default() }
    }

    /// These stages of a unit are not done.
    pub(super) fn leave_out(&self, stages: &[usize]) -> Vec<Ended> {
        self.memory().left_out.extend(stages);
        let ended = |&stage: &usize| {
            let nothing = Err(Diagnostic::failure(codes::TL0604, "this stage was not begun"));
            Ended { victim: Some((Outcome::Skipped, "not selected".to_owned())), ..Ended::new(stage, nothing) }
        };
        stages.iter().map(ended).collect()
    }

    /// An answer about a stage before it starts. Where it is left out, nothing about it can fail.
    pub(super) fn unless_left_out<T>(&self, stage: usize, answer: Result<T>, otherwise: T) -> Result<T> {
        match answer {
            Err(_) if self.plan.stages[stage].part == Part::LeftOut => {
                self.memory().left_out.insert(stage);
                Ok(otherwise)
            }
            answer => answer,
        }
    }

    /// The names of the stages that the selection left undone, or that wait for such a stage.
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
            // A file may name what waits before what it waits for.
            if left_out.len() == known {
                break;
            }
        }
        left_out.into_iter().map(|stage| self.plan.stages[stage].name.clone()).collect()
    }
}

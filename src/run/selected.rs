//! Stages that the selection leaves out: they are skipped.

use super::work::PipelineWork;
use crate::diagnostic::Result;
use crate::graph::outcome::{Ended, OwnEnd};

impl PipelineWork {
    /// Skips the stages of a unit.
    pub(super) fn leave_out(&self, stages: &[usize]) -> Vec<Ended> {
        self.memory().left_out.extend(stages);
        stages.iter().map(|&stage| Ended { stage, end: OwnEnd::LeftOut }).collect()
    }

    /// The answer to a question about a stage before it starts, `otherwise` if [`Part::forgive`](crate::graph::Part) forgives
    /// that it has none.
    pub(super) fn unless_left_out<T>(&self, stage: usize, answer: Result<T>, otherwise: T) -> Result<T> {
        let answer = self.plan.stages[stage].part.forgive(answer)?;
        Ok(answer.unwrap_or_else(|| {
            self.memory().left_out.insert(stage);
            otherwise
        }))
    }
}

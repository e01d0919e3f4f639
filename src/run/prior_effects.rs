use std::collections::{BTreeMap, HashMap};

use crate::graph::Plan;
use crate::state::{Effect, PriorRun};

/// The effects of earlier sessions, from the journal.
#[derive(Debug, Default)]
pub(super) struct PriorEffects {
    /// By stage and instance number.
    effects: HashMap<usize, BTreeMap<Option<usize>, Effect>>,
    /// For each stage, the stages that need it.
    dependants: Vec<Vec<usize>>,
}

impl PriorEffects {
    pub(super) fn new(left: &PriorRun, plan: &Plan) -> Self {
        let stages = || plan.stages.iter().enumerate();
        let numbers: HashMap<&str, usize> = stages().map(|(number, stage)| (stage.name.as_str(), number)).collect();
        let mut effects: HashMap<usize, BTreeMap<_, _>> = HashMap::new();
        for effect in &left.effects {
            if let Some(&stage) = numbers.get(effect.stage.as_str()) {
                effects.entry(stage).or_default().insert(effect.instance, effect.clone());
            }
        }
        let mut dependants = vec![Vec::new(); plan.stages.len()];
        for (number, stage) in stages() {
            stage.needs.iter().for_each(|&need| dependants[need].push(number));
        }
        Self { effects, dependants }
    }

    pub(super) fn effect(&self, stage: usize, instance: Option<usize>) -> Option<&Effect> {
        self.effects.get(&stage)?.get(&instance)
    }

    /// The effects of the stages that need a stage.
    pub(super) fn of_dependants(&self, stage: usize) -> impl Iterator<Item = &Effect> {
        self.dependants(stage).filter_map(|dependant| self.effects.get(&dependant)).flat_map(BTreeMap::values)
    }

    /// The stages that need a stage.
    pub(super) fn dependants(&self, stage: usize) -> impl Iterator<Item = usize> {
        self.dependants.get(stage).into_iter().flatten().copied()
    }

    /// Whether an earlier session finished a stage, or an instance of it.
    pub(super) fn has_effect(&self, stage: usize) -> bool {
        self.effects.contains_key(&stage)
    }
}

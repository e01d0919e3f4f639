use std::collections::HashMap;
use std::sync::Arc;

use super::{Part, Selection};
use crate::expression::{Expression, uses_status_function};
use crate::pipeline::{OnWarning, Pipeline, Retry, Stage, artifact_source, expressions_in};
use crate::stages::{ARTIFACT, Flow, StageKind};
use crate::value::PositiveDuration;

/// A pipeline made ready to run. Stages and units are named by their place in these lists.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of the file; those of `finally` last.
    pub stages: Vec<Planned>,
    /// What starts, retries and ends together: one stage, or a chain of them that is one stream.
    pub units: Vec<Unit>,
}

/// A stage with everything that decides when and how it runs.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Whether it stands in `finally`.
    pub is_finally: bool,
    /// The stages that must have ended before.
    pub needs: Vec<usize>,
    /// Its `if`.
    pub condition: Option<Expression>,
    /// Whether its `if` uses a status function. Then the `if` alone judges the outcomes of its needs.
    pub has_status_function: bool,
    /// Those of its needs with a matrix whose outputs its own matrix lists. If one of them failed in part, a stage without
    /// `if` still runs for what that one gave.
    pub listed: Vec<usize>,
    /// As the file has it.
    pub stage: Arc<Stage>,
    /// After this an attempt is ended.
    pub timeout: Option<PositiveDuration>,
    /// How often to try.
    pub retry: Retry,
    /// The outcome that a warning becomes.
    pub on_warning: OnWarning,
    /// The names of its outputs.
    pub outputs: Vec<String>,
    /// The unit it belongs to.
    pub unit: usize,
    /// Whether the run is about it.
    pub part: Part,
}

impl Planned {
    /// The JSON pointer to the stage in its file.
    pub fn pointer(&self) -> String {
        let section = if self.is_finally { "finally" } else { "stages" };
        format!("/{section}/{}", self.name)
    }

    /// The JSON pointer to one of its settings.
    pub fn setting(&self, key: &str) -> String {
        format!("{}/with/{key}", self.pointer())
    }
}

/// What starts, retries and ends together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its stages, in the direction of the data.
    pub stages: Vec<usize>,
}

impl Plan {
    /// Plans a checked pipeline.
    pub fn new(pipeline: &Pipeline) -> Self {
        Self::select(pipeline, &Selection::All)
    }

    /// Plans a run of a checked pipeline that is about some of its stages. What belongs to `finally` is never left out.
    pub fn select(pipeline: &Pipeline, selection: &Selection) -> Self {
        let all: Vec<(&str, &Arc<Stage>, bool)> = pipeline
            .stages
            .iter()
            .map(|(name, stage)| (name.as_str(), stage, false))
            .chain(pipeline.finally.iter().map(|(name, stage)| (name.as_str(), stage, true)))
            .collect();
        let index: HashMap<&str, usize> = all.iter().enumerate().map(|(i, (name, ..))| (*name, i)).collect();
        let mut stages: Vec<Planned> = all
            .iter()
            .map(|(name, stage, is_finally)| {
                // The checks have parsed each `if` and found each need.
                let condition = stage.condition.as_deref().and_then(|text| Expression::parse(text, 0).ok());
                let needs: Vec<usize> =
                    stage.needs.iter().filter_map(|need| index.get(need.as_str()).copied()).collect();
                let is_listed = |need: &usize| all[*need].1.strategy.is_some() && lists(stage, all[*need].0);
                Planned {
                    name: (*name).to_owned(),
                    is_finally: *is_finally,
                    listed: needs.iter().copied().filter(|need| condition.is_none() && is_listed(need)).collect(),
                    needs,
                    has_status_function: condition.as_ref().is_some_and(uses_status_function),
                    condition,
                    timeout: stage.timeout.or(pipeline.defaults.timeout),
                    retry: stage.retry.clone().or_else(|| pipeline.defaults.retry.clone()).unwrap_or_default(),
                    on_warning: stage.on_warning.or(pipeline.defaults.on_warning).unwrap_or_default(),
                    outputs: output_names(stage),
                    stage: Arc::clone(stage),
                    unit: 0,
                    part: Part::Included,
                }
            })
            .collect();
        let needs: Vec<Vec<usize>> = stages.iter().map(|stage| stage.needs.clone()).collect();
        let names: Vec<&str> = all.iter().map(|(name, ..)| *name).collect();
        for (stage, part) in stages.iter_mut().zip(selection.parts(&names, &needs)) {
            stage.part = if stage.is_finally && part == Part::LeftOut { Part::Included } else { part };
        }
        let units = join(&stages, &index);
        for (number, unit) in units.iter().enumerate() {
            for &stage in &unit.stages {
                stages[stage].unit = number;
            }
        }
        Self { stages, units }
    }

    /// How a unit is retried and timed: as its last stage says, since a delivery fails there.
    pub fn policy(&self, unit: usize) -> &Planned {
        let last = self.units[unit].stages.last().copied().unwrap_or_default();
        &self.stages[last]
    }

    /// What a stage does with data: makes, changes or takes it, or none of these.
    pub fn flow(&self, stage: usize) -> Flow {
        flow(&self.stages[stage])
    }

    /// Groups of units that may run at the same time, in order: all that a group needs is in the ones before.
    pub fn levels(&self) -> Vec<Vec<usize>> {
        let mut level = vec![0_usize; self.units.len()];
        let mut open = vec![0_usize; self.units.len()];
        let mut dependants = vec![Vec::new(); self.units.len()];
        for planned in &self.stages {
            for need in planned.needs.iter().map(|&need| self.stages[need].unit).filter(|&need| need != planned.unit) {
                open[planned.unit] += 1;
                dependants[need].push(planned.unit);
            }
        }
        let mut free: Vec<usize> = (0..self.units.len()).filter(|&unit| open[unit] == 0).collect();
        while let Some(unit) = free.pop() {
            for &dependant in &dependants[unit] {
                level[dependant] = level[dependant].max(level[unit] + 1);
                open[dependant] -= 1;
                if open[dependant] == 0 {
                    free.push(dependant);
                }
            }
        }
        let main = |unit: usize| !self.stages[self.units[unit].stages[0]].is_finally;
        let mut levels = Vec::new();
        for phase in [true, false] {
            let units: Vec<usize> = (0..self.units.len()).filter(|&unit| main(unit) == phase).collect();
            for number in 0..=units.iter().map(|&unit| level[unit]).max().unwrap_or_default() {
                let group: Vec<usize> = units.iter().copied().filter(|&unit| level[unit] == number).collect();
                if !group.is_empty() {
                    levels.push(group);
                }
            }
        }
        levels
    }
}

/// Finds the chains: a source, its filters and its only sink become one stream, without a file between them.
///
/// Two stages are joined when the second takes the artifact of the first and nothing else of it, is the only one that
/// waits for it, and neither has an `if` or a matrix. So nobody outside waits for the middle of a chain. What a selection
/// leaves out ends a chain: nothing of it is done. An upload that may go on where it stopped needs its data in a file: it
/// could not be made again as it was.
fn join(stages: &[Planned], index: &HashMap<&str, usize>) -> Vec<Unit> {
    let mut dependants = vec![0_usize; stages.len()];
    for need in stages.iter().flat_map(|stage| &stage.needs) {
        dependants[*need] += 1;
    }
    let flow = |stage: usize| flow(&stages[stage]);
    let mut next = vec![None; stages.len()];
    for (consumer, planned) in stages.iter().enumerate() {
        let Some(producer) = producer(planned).and_then(|name| index.get(name.as_str()).copied()) else { continue };
        let joins = planned.needs.contains(&producer)
            && dependants[producer] == 1
            && matches!(flow(producer), Flow::Source | Flow::Filter)
            && matches!(flow(consumer), Flow::Filter | Flow::Sink)
            && planned.condition.is_none()
            && planned.stage.strategy.is_none()
            && stages[producer].stage.strategy.is_none()
            && stages[producer].condition.is_none()
            && planned.is_finally == stages[producer].is_finally
            && (planned.part == Part::LeftOut) == (stages[producer].part == Part::LeftOut)
            && mentions(planned, &stages[producer].name) == 1
            && !may_resume(planned);
        if joins {
            next[producer] = Some(consumer);
        }
    }
    let mut inner = vec![false; stages.len()];
    for consumer in next.iter().copied().flatten() {
        inner[consumer] = true;
    }
    let mut units = Vec::new();
    for start in (0..stages.len()).filter(|&stage| !inner[stage]) {
        let mut chain = vec![start];
        while let Some(consumer) = chain.last().and_then(|&stage| next[stage]) {
            chain.push(consumer);
        }
        units.push(Unit { stages: chain });
    }
    units
}

fn flow(planned: &Planned) -> Flow {
    planned.stage.kind().map_or(Flow::None, |kind| kind.flow)
}

/// The names of the outputs of a stage with instances; of others nobody asks.
fn output_names(stage: &Stage) -> Vec<String> {
    if stage.strategy.is_none() {
        return Vec::new();
    }
    match stage.kind() {
        Some(kind) => {
            (kind.outputs)()["properties"].as_object().into_iter().flat_map(|map| map.keys().cloned()).collect()
        }
        None => stage.outputs.keys().map(ToString::to_string).collect(),
    }
}

fn producer(planned: &Planned) -> Option<String> {
    artifact_source(planned.stage.with.get(ARTIFACT)?.as_str()?)
}

/// Whether it delivers and goes on where it stopped, or an expression may ask for that.
fn may_resume(planned: &Planned) -> bool {
    let setting = planned.stage.kind().and_then(StageKind::delivery).and_then(|delivery| delivery.resume);
    setting.and_then(|setting| planned.stage.with.get(setting)).is_some_and(|resume| *resume != false)
}

/// Whether the matrix of a stage lists an output of another one.
fn lists(stage: &Stage, other: &str) -> bool {
    let axes = stage.strategy.iter().flat_map(|strategy| strategy.matrix.axes());
    axes.flat_map(|(_, values)| expressions_in(values))
        .any(|expression| expression.paths().iter().any(|path| is_of(path, other)))
}

/// Whether a path reads something of a stage.
fn is_of(path: &[String], other: &str) -> bool {
    matches!(path, [needs, stage, ..] if needs == "needs" && stage == other)
}

/// How often a stage's settings read something of another stage.
fn mentions(planned: &Planned, name: &str) -> usize {
    let with = serde_json::Value::Object(planned.stage.with.clone());
    let env = planned.stage.env.values().flat_map(expressions_in);
    expressions_in(&with)
        .iter()
        .chain(&env.collect::<Vec<_>>())
        .flat_map(Expression::paths)
        .filter(|path| is_of(path, name))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Document;
    use std::path::PathBuf;

    fn plan(stages: &str) -> Plan {
        let text =
            format!("version: 1\nname: t\nstores: {{ s: {{ uses: dir, with: {{ path: s }} }} }}\nstages:\n{stages}");
        let document = Document::parse("t".to_owned(), PathBuf::new(), text).unwrap();
        Plan::new(&serde_json::from_value(document.value().clone()).unwrap())
    }

    fn chains(stages: &str) -> Vec<Vec<String>> {
        let plan = plan(stages);
        plan.units.iter().map(|unit| unit.stages.iter().map(|&s| plan.stages[s].name.clone()).collect()).collect()
    }

    const COLLECT: &str = "  collect: { uses: archive, with: { sources: [a] } }\n";
    const SEAL: &str = "  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients: [x] } }\n";

    fn deliver(name: &str, more: &str, key: &str) -> String {
        format!(
            "  {name}: {{ needs: seal, {more} uses: upload, with: {{ artifact: '${{{{ needs.seal.outputs.artifact }}}}', \
             store: s, key: '{key}' }} }}\n"
        )
    }

    #[test]
    fn a_source_its_filter_and_its_only_sink_are_one() {
        assert_eq!(
            chains(&format!("{COLLECT}{SEAL}{}", deliver("deliver", "", "k"))),
            [["collect", "seal", "deliver"]]
        );
    }

    #[test]
    fn whatever_looks_inside_keeps_stages_apart() {
        let two = format!("{COLLECT}{SEAL}{}{}", deliver("one", "", "k"), deliver("two", "", "l"));
        assert_eq!(chains(&two).len(), 3);
        let conditional = format!("{COLLECT}{SEAL}{}", deliver("deliver", "if: 'true',", "k"));
        assert_eq!(chains(&conditional).len(), 2);
        let curious = format!("{COLLECT}{SEAL}{}", deliver("deliver", "", "${{ needs.seal.outputs.recipients[0] }}"));
        assert_eq!(chains(&curious).len(), 2);
        for (resume, units) in [("false", 1), ("true", 2), ("'${{ env.R }}'", 2)] {
            let resumable = deliver("deliver", "", "k").replace("key: 'k'", &format!("key: 'k', resume: {resume}"));
            assert_eq!(chains(&format!("{COLLECT}{SEAL}{resumable}")).len(), units, "{resume}");
        }
        let waiting = format!("{COLLECT}{SEAL}{}  look: {{ needs: seal, run: [ls] }}\n", deliver("deliver", "", "k"));
        assert_eq!(chains(&waiting).len(), 3);
    }

    #[test]
    fn levels_hold_what_may_run_together() {
        let plan = plan(
            "  c: { needs: [a, b], run: [x] }\n  a: { run: [x] }\n  b: { run: [x] }\nfinally:\n  f: { run: [x] }\n",
        );
        let names: Vec<Vec<&str>> = plan
            .levels()
            .iter()
            .map(|level| level.iter().map(|&u| plan.stages[plan.units[u].stages[0]].name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["a", "b"], vec!["c"], vec!["f"]]);
    }
}

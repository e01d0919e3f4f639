//! What earlier sessions of a run did, and what of it still counts.
//!
//! The effects of earlier sessions flow in, a decision for each unit flows out. Three things decide: the key (a digest of all
//! that the unit depends on), whether its effects still hold, and whether a stage that it needs ran again. The key is the
//! unit's and not the file's, because a file may be corrected before a run is resumed.
//!
//! No disk and no clock: the caller computes the keys, asks the kinds, and writes the journal.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{Job, Part, Plan};
use crate::stages::Flow;

/// What an earlier session did of a stage, or of one instance of it.
#[derive(Clone, Debug)]
pub struct PriorEffect<P> {
    /// Which stage.
    pub stage: usize,
    /// Which instance of it.
    pub instance: Option<usize>,
    /// The key of its unit at that time.
    pub key: String,
    /// What the caller needs to check and to reuse it.
    pub payload: P,
}

/// What a unit does, or an instance of its only stage.
#[derive(Debug)]
pub enum Decision<'a, P, E> {
    /// Nothing: what an earlier session did counts. For each stage of the unit, in order.
    Recall(Vec<&'a PriorEffect<P>>),
    /// Nothing: the selection leaves it out, and no earlier session did it.
    LeaveOut,
    /// Its work.
    Run,
    /// Its work, once more: it proves something, and that may have changed since an earlier session. Nothing else is repeated for
    /// it.
    ProveAgain,
    /// It fails: whether what it did still holds cannot be checked now.
    Fail {
        /// The stage that cannot be checked.
        stage: usize,
        /// Why.
        error: E,
    },
}

/// The effects of earlier sessions.
#[derive(Debug)]
pub struct Prior<P> {
    plan: Arc<Plan>,
    /// By stage and instance.
    effects: HashMap<usize, BTreeMap<Option<usize>, PriorEffect<P>>>,
    /// For each stage, the stages that need it.
    dependants: Vec<Vec<usize>>,
}

impl<P> Prior<P> {
    /// The effects that the journal has for the stages of a plan.
    pub fn new(plan: Arc<Plan>, effects: impl IntoIterator<Item = PriorEffect<P>>) -> Self {
        let mut by_stage: HashMap<usize, BTreeMap<_, _>> = HashMap::new();
        for effect in effects {
            by_stage.entry(effect.stage).or_default().insert(effect.instance, effect);
        }
        let mut dependants = vec![Vec::new(); plan.stages.len()];
        for (number, stage) in plan.stages.iter().enumerate() {
            stage.needs.iter().for_each(|&need| dependants[need].push(number));
        }
        Self { plan, effects: by_stage, dependants }
    }

    /// Whether an earlier session did a stage, or any instance of it.
    pub fn has_effect(&self, stage: usize) -> bool {
        self.effects.contains_key(&stage)
    }

    /// Whether an earlier session did a stage, or this instance of it.
    pub fn was_done(&self, stage: usize, instance: Option<usize>) -> bool {
        self.effect(stage, instance).is_some()
    }

    fn effect(&self, stage: usize, instance: Option<usize>) -> Option<&PriorEffect<P>> {
        self.effects.get(&stage)?.get(&instance)
    }

    /// Decides about a unit. `key` is its key now, `None` for a unit that runs in every session; `may_recall` is what
    /// [`Session::may_recall`] says. `holds` checks the effect of one stage; its error means that it cannot tell now.
    ///
    /// A stage that finished is not repeated because its store is unreachable or the run is cancelled: the unit fails, and
    /// the effect stays for the next session.
    pub fn decide<E>(
        &self,
        job: Job,
        key: Option<&str>,
        may_recall: bool,
        mut holds: impl FnMut(&PriorEffect<P>) -> Result<bool, E>,
    ) -> Decision<'_, P, E> {
        let part = self.plan.part(job.unit);
        let otherwise = || if part == Part::LeftOut { Decision::LeaveOut } else { Decision::Run };
        if part == Part::Asked || !may_recall {
            return otherwise();
        }
        let stages = &self.plan.units[job.unit].stages;
        let has_key = |effect: &&PriorEffect<P>| key == Some(effect.key.as_str());
        let effects = stages.iter().map(|&stage| self.effect(stage, job.instance).filter(has_key));
        let Some(effects) = effects.collect::<Option<Vec<_>>>() else { return otherwise() };
        for effect in &effects {
            match holds(effect) {
                Ok(true) => {}
                Ok(false) => return otherwise(),
                // Nobody asked for it, so it must not fail the run.
                Err(_) if part == Part::LeftOut => return Decision::LeaveOut,
                Err(error) => return Decision::Fail { stage: effect.stage, error },
            }
        }
        let only_proves = |&stage: &usize| {
            let kind = self.plan.stages[stage].stage.kind();
            kind.is_some_and(|kind| kind.proved().is_some() && kind.delivery().is_none())
        };
        if part != Part::LeftOut && stages.iter().any(only_proves) {
            return Decision::ProveAgain;
        }
        Decision::Recall(effects)
    }

    /// What the journal must forget before a unit runs, durably: its own effects and, unless it gives an artifact, those of
    /// the stages that need it. A session that is killed in between must not leave effects that a later one would trust.
    pub fn forgotten(&self, session: &Session, job: Job) -> BTreeSet<(usize, Option<usize>)> {
        if session.begun.contains(&job) {
            return BTreeSet::new();
        }
        let stages = &self.plan.units[job.unit].stages;
        let own = stages.iter().filter_map(|&stage| self.effect(stage, job.instance));
        let takers = stages.iter().filter(|_| !gives_artifact(&self.plan, job.unit));
        let takers = takers.flat_map(|&stage| &self.dependants[stage]).filter_map(|taker| self.effects.get(taker));
        own.chain(takers.flat_map(BTreeMap::values)).map(|effect| (effect.stage, effect.instance)).collect()
    }

    /// Whether an earlier session delivered the artifact of a stage, also through filters. Then its effect holds without its
    /// bytes: the source may have changed since, and a new artifact would take the place of the delivered one. Units that
    /// need the bytes fail; a selection that names the source collects it again.
    pub fn was_delivered(&self, stage: usize) -> bool {
        self.dependants[stage].iter().any(|&taker| match self.plan.flow(taker) {
            Flow::Sink => self.effects.contains_key(&taker),
            Flow::Filter => self.was_delivered(taker),
            Flow::Source | Flow::None => false,
        })
    }
}

/// What this session did so far, as far as it decides what the rest of it does.
#[derive(Debug, Default)]
pub struct Session {
    /// What runs in this session or ran. A further attempt runs again, too: its effects are forgotten.
    begun: HashSet<Job>,
    /// Stages that ran in this session and whose dependants must run again.
    redone: HashSet<usize>,
    /// Artifacts of earlier sessions that were delivered and whose bytes are gone.
    lost: HashSet<(usize, Option<usize>)>,
}

impl Session {
    /// Whether what earlier sessions did of a unit may still count: it did not begin in this one, and nothing that it needs
    /// ran again.
    pub fn may_recall(&self, plan: &Plan, job: Job) -> bool {
        let mut needs = plan.units[job.unit].stages.iter().flat_map(|&stage| &plan.stages[stage].needs);
        !self.begun.contains(&job) && !needs.any(|need| self.redone.contains(need))
    }

    /// Marks a unit as running, once the journal forgot [`Prior::forgotten`]. Stages that take an artifact have its digest in
    /// their key, so they run again only if it changed.
    pub fn begin(&mut self, plan: &Plan, job: Job) {
        let stages = &plan.units[job.unit].stages;
        self.begun.insert(job);
        self.lost.retain(|(stage, instance)| !stages.contains(stage) || *instance != job.instance);
        if !gives_artifact(plan, job.unit) {
            self.redone.extend(stages);
        }
    }

    /// Marks an artifact as delivered and gone.
    pub fn lose(&mut self, stage: usize, instance: Option<usize>) {
        self.lost.insert((stage, instance));
    }

    /// The artifacts that are delivered and gone, by stage and instance.
    pub fn lost(&self) -> impl Iterator<Item = (usize, Option<usize>)> {
        self.lost.iter().copied()
    }
}

fn gives_artifact(plan: &Plan, unit: usize) -> bool {
    plan.units[unit].stages.last().is_some_and(|&stage| matches!(plan.flow(stage), Flow::Source | Flow::Filter))
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Selection;
    use serde_json::json;

    /// `a`, then `p` (a program) and `z` (an archive), then `n`, which needs both, `u`, which delivers the archive, and a
    /// stage with instances. In this order.
    const NAMES: [&str; 6] = ["a", "p", "z", "n", "u", "m"];

    fn plan(selection: &Selection) -> Arc<Plan> {
        let program = |needs: &[&str]| json!({ "needs": needs, "run": ["x"] });
        let file = json!({
            "version": 1, "name": "t",
            "stages": {
                "a": program(&[]),
                "p": program(&["a"]),
                "z": { "needs": ["a"], "uses": "archive", "with": { "sources": ["x"] } },
                "n": program(&["p", "z"]),
                "u": { "needs": ["z"], "uses": "upload", "with": { "artifact": "${{ needs.z.outputs.artifact }}" } },
                "m": { "needs": ["p"], "run": ["x"], "strategy": { "matrix": { "m": [1, 2] } } },
            },
        });
        Arc::new(Plan::select(&serde_json::from_value(file).unwrap(), selection))
    }

    fn effect(stage: usize, instance: Option<usize>) -> PriorEffect<()> {
        PriorEffect { stage, instance, key: "k".to_owned(), payload: () }
    }

    /// Every stage was done with the key `k`.
    fn all(plan: &Arc<Plan>) -> Prior<()> {
        let single = (0..5).map(|stage| effect(stage, None));
        Prior::new(Arc::clone(plan), single.chain([effect(5, Some(0)), effect(5, Some(1))]))
    }

    fn job(unit: usize) -> Job {
        Job { unit, instance: None }
    }

    fn stage(name: &str) -> usize {
        NAMES.iter().position(|other| *other == name).unwrap()
    }

    fn word<P>(decision: &Decision<'_, P, &str>) -> &'static str {
        match decision {
            Decision::Recall(_) => "recall",
            Decision::LeaveOut => "leave out",
            Decision::Run => "run",
            Decision::ProveAgain => "prove again",
            Decision::Fail { .. } => "fail",
        }
    }

    #[test]
    fn a_proof_is_made_again_and_nothing_else_for_it() {
        let file = json!({
            "version": 1, "name": "t",
            "stages": {
                "v": { "uses": "verify", "with": { "object": "x" } },
                "after": { "needs": ["v"], "run": ["x"] },
            },
        });
        let only = |name: &str| Selection::Only(vec![name.to_owned()]);
        let selections = [(Selection::All, "prove again"), (only("v"), "run"), (only("after"), "prove again")];
        for (selection, wanted) in selections {
            let plan = Arc::new(Plan::select(&serde_json::from_value(file.clone()).unwrap(), &selection));
            let prior = Prior::new(Arc::clone(&plan), [effect(0, None), effect(1, None)]);
            let decision = prior.decide::<&str>(job(0), Some("k"), true, |_| Ok(true));
            assert_eq!(word(&decision), wanted, "{selection:?}");
            // What needs it may still be recalled: the proof does not count as begun.
            assert!(Session::default().may_recall(&plan, job(1)));
        }
    }

    #[test]
    fn key_effect_and_order_decide() {
        let (holds, gone, unknown) = (Ok(true), Ok(false), Err("the store does not answer"));
        let only = |name: &str| Selection::Only(vec![name.to_owned()]);
        // For `p`: included, asked for, left out.
        let selections = [Selection::All, only("p"), only("z")];
        for (key, may_recall, answer, decisions) in [
            (Some("k"), true, holds, ["recall", "run", "recall"]),
            (Some("k"), true, gone, ["run", "run", "leave out"]),
            (Some("k"), true, unknown, ["fail", "run", "leave out"]),
            (Some("k"), false, holds, ["run", "run", "leave out"]),
            (Some("other"), true, holds, ["run", "run", "leave out"]),
            (None, true, holds, ["run", "run", "leave out"]),
        ] {
            for (selection, wanted) in selections.iter().zip(decisions) {
                let plan = plan(selection);
                let prior = all(&plan);
                let decision = prior.decide(job(stage("p")), key, may_recall, |_| answer);
                assert_eq!(word(&decision), wanted, "{key:?} {may_recall} {answer:?} {selection:?}");
            }
        }
        let plan = plan(&Selection::All);
        let none = Prior::<()>::new(Arc::clone(&plan), []);
        assert_eq!(word(&none.decide(job(1), Some("k"), true, |_| unknown)), "run", "no effect, so nothing is asked");
        let one = Prior::new(Arc::clone(&plan), [effect(stage("m"), Some(1))]);
        let instance = |instance| Job { unit: stage("m"), instance: Some(instance) };
        assert_eq!([0, 1].map(|n| word(&one.decide(instance(n), Some("k"), true, |_| holds))), ["run", "recall"]);
    }

    #[test]
    fn what_runs_is_forgotten_before_with_what_waits_for_it() {
        let plan = plan(&Selection::All);
        let prior = all(&plan);
        for (name, instance, forgotten) in [
            ("a", None, vec![("a", None), ("p", None), ("z", None)]),
            ("p", None, vec![("p", None), ("n", None), ("m", Some(0)), ("m", Some(1))]),
            // Stages that take the artifact of `z` have its digest in their key.
            ("z", None, vec![("z", None)]),
            ("m", Some(1), vec![("m", Some(1))]),
        ] {
            let mut session = Session::default();
            let job = Job { unit: stage(name), instance };
            let wanted: BTreeSet<_> = forgotten.iter().map(|&(name, instance)| (stage(name), instance)).collect();
            assert_eq!(prior.forgotten(&session, job), wanted, "{name}");
            session.begin(&plan, job);
            assert_eq!(
                prior.forgotten(&session, job),
                BTreeSet::new(),
                "a further attempt has nothing to forget: {name}"
            );
        }
    }

    #[test]
    fn nothing_counts_once_what_it_needs_ran_again() {
        let plan = plan(&Selection::All);
        for (ran, recallable) in [
            ("a", vec!["n", "u", "m"]),
            ("p", vec!["a", "z", "u"]),
            ("z", vec!["a", "p", "n", "u", "m"]),
            ("u", vec!["a", "p", "z", "n", "m"]),
        ] {
            let mut session = Session::default();
            session.begin(&plan, job(stage(ran)));
            let may = |name: &&str| session.may_recall(&plan, job(stage(name)));
            assert_eq!(NAMES.into_iter().filter(may).collect::<Vec<_>>(), recallable, "{ran} ran");
        }
    }

    #[test]
    fn a_delivered_artifact_is_not_made_again_for_its_bytes() {
        let plan = plan(&Selection::All);
        let was_delivered = |done: &[&str]| {
            let prior = Prior::new(Arc::clone(&plan), done.iter().map(|name| effect(stage(name), None)));
            prior.was_delivered(stage("z"))
        };
        assert_eq!([was_delivered(&["z", "n"]), was_delivered(&["z", "u"])], [false, true]);
        let mut session = Session::default();
        session.lose(stage("z"), None);
        session.lose(stage("z"), Some(1));
        session.begin(&plan, job(stage("z")));
        assert_eq!(session.lost().collect::<Vec<_>>(), [(stage("z"), Some(1))]);
    }
}

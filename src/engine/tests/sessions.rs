//! Random histories: sessions of one run, killed after any report, resumed from what the journal holds, about some of the
//! stages. Their laws are read from the traces of all sessions together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;

use super::fake::{Choice, Entry, Kept, Line, World, number, run_session};
use super::graphs::{Graph, name};
use super::laws::law;
use super::reference::expected;
use crate::event::{Outcome, What};
use crate::graph::assurance::{self, assurance, recovers};
use crate::graph::verdict::{Finished, verdict};
use crate::graph::{Plan, Selection};

/// One session to be.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) selection: Selection,
    /// The process is killed after this number of reports.
    pub(super) killed_after: Option<usize>,
    /// The version of the settings of each stage.
    pub(super) settings: Vec<u8>,
    /// The version of what archives read.
    pub(super) contents: u8,
    pub(super) faults: BTreeMap<usize, Fault>,
}

/// What happened to the effects of a stage since the session before. Only bytes stay lost in a further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Gone,
    /// Nobody can tell now.
    Unknown,
    /// The work folder has lost its artifact.
    BytesGone,
}

/// A session that ended or was killed.
#[derive(Debug)]
struct Past {
    session: Arc<Session>,
    lines: Vec<Line>,
    finished: Option<Finished>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
pub(super) struct History {
    graph: Arc<Graph>,
    sessions: Vec<Past>,
}

type Law = fn(&History) -> Result<(), String>;

pub(super) const LAWS: &[(&str, Law)] = &[
    ("every stage and instance ends exactly once in each session", each_ends_once),
    ("what is done is not done again, and nothing else counts as done", each_choice_is_due),
    ("an event says what was recalled", events_say_what_was_recalled),
    ("the last session ends as an undisturbed run does", the_last_ends_as_one),
    ("what counts as a success has delivered all", what_counts_has_delivered),
    ("a success recovers from what failed or died since the last one", a_success_recovers),
];

impl History {
    /// One to four sessions, of which the last does what is left.
    pub(super) fn run(seed: u64, graph: &Arc<Graph>) -> Result<Self, String> {
        let mut rng = Rng::with_seed(!seed);
        let world = Arc::new(World::default());
        let (mut settings, mut contents, mut sessions) = (vec![0; graph.stages.len()], 0, Vec::new());
        let count = rng.usize(1..4);
        for place in 0..=count {
            let is_last = place == count;
            settings.iter_mut().for_each(|version| *version += u8::from(place > 0 && rng.u8(..12) == 0));
            contents ^= u8::from(rng.u8(..4) == 0);
            let selection = if is_last { Selection::All } else { selection(&mut rng, graph) };
            let most = 6 * graph.stages.len() + 2;
            let session = Arc::new(Session {
                selection,
                killed_after: (!is_last && rng.u8(..4) > 0).then(|| rng.usize(1..most)),
                settings: settings.clone(),
                contents,
                faults: faults(&mut rng, graph, is_last),
            });
            let (lines, finished, plan) = run_session(graph, &world, Arc::clone(&session))?;
            sessions.push(Past { session, lines, finished, plan });
        }
        Ok(Self { graph: Arc::clone(graph), sessions })
    }
}

fn selection(rng: &mut Rng, graph: &Graph) -> Selection {
    let mut names = || (0..rng.usize(1..3)).map(|_| name(rng.usize(..graph.stages.len()))).collect();
    let names: Vec<String> = names();
    match rng.u8(..4) {
        0 => Selection::Only(names),
        1 => Selection::From(names),
        _ => Selection::All,
    }
}

fn faults(rng: &mut Rng, graph: &Graph, is_last: bool) -> BTreeMap<usize, Fault> {
    let mut all = BTreeMap::new();
    for stage in (0..graph.stages.len()).filter(|_| rng.u8(..10) == 0).collect::<Vec<_>>() {
        match rng.u8(..3) {
            0 => all.insert(stage, Fault::Gone),
            // In the last session all can be told.
            1 if !is_last => all.insert(stage, Fault::Unknown),
            _ => all.insert(stage, Fault::BytesGone),
        };
    }
    all
}

/// A stage, or an instance of it.
type Which = (usize, Option<usize>);

fn each_ends_once(history: &History) -> Result<(), String> {
    for (place, past) in history.sessions.iter().enumerate() {
        let mut ended = BTreeSet::new();
        for line in &past.lines {
            let (which, is_end) = match line.event() {
                Some(What::StageEnded { stage, instance, .. }) => (of(stage, instance.as_ref()), true),
                Some(What::StageStarted { stage, instance, .. }) => (of(stage, instance.as_ref()), false),
                _ => continue,
            };
            law!(!ended.contains(&which), "session {place}: {which:?} after its end");
            ended.extend(is_end.then_some(which));
        }
        let stages = ended.iter().filter(|(_, instance)| instance.is_none()).count();
        let is_whole = stages == history.graph.stages.len();
        law!(past.finished.is_none() || is_whole, "session {place}: {stages} stages end");
    }
    Ok(())
}

fn of(stage: &str, instance: Option<&String>) -> Which {
    (number(stage), instance.map(|instance| instance.parse().unwrap()))
}

/// What is known to be done at a moment of a history: told by the traces alone.
#[derive(Clone, Default)]
struct Ledger {
    /// The moment of the last commit of each.
    committed: BTreeMap<Which, (usize, Kept)>,
    /// The moment when each last ran.
    ran: BTreeMap<Which, usize>,
    /// The moment when each stage last ran in a unit that gives no artifact: all that needs it must run after it.
    redone: BTreeMap<usize, usize>,
    moment: usize,
}

impl Ledger {
    /// The effect of one stage, if nothing that happened after it makes it void.
    fn effect(&self, graph: &Graph, which: Which) -> Option<&Kept> {
        let (committed, kept) = self.committed.get(&which)?;
        let is_newest = self.ran.get(&which).is_none_or(|ran| ran < committed);
        let in_order = |need: &usize| self.redone.get(need).is_none_or(|redone| redone < committed);
        (is_newest && graph.stages[which.0].needs.iter().all(in_order)).then_some(kept)
    }

    fn has_effect(&self, graph: &Graph, stage: usize) -> bool {
        let instances = self.committed.keys().filter(|(other, _)| *other == stage);
        instances.copied().any(|which| self.effect(graph, which).is_some())
    }

    fn was_delivered(&self, graph: &Graph, stage: usize) -> bool {
        let mut takers = (0..graph.stages.len()).filter(|&taker| graph.stages[taker].needs.contains(&stage));
        takers.any(|taker| match graph.stages[taker].uses {
            Some("upload") => self.has_effect(graph, taker),
            Some("encrypt") => self.was_delivered(graph, taker),
            _ => false,
        })
    }
}

/// The decision about each unit is the one that follows from what happened before.
fn each_choice_is_due(history: &History) -> Result<(), String> {
    let graph = &history.graph;
    let mut ledger = Ledger::default();
    for (place, past) in history.sessions.iter().enumerate() {
        let (asked, included) = parts(graph, &past.session.selection);
        let before = ledger.clone();
        // Artifacts that are recalled without their bytes.
        let mut lost: BTreeSet<Which> = BTreeSet::new();
        for line in &past.lines {
            ledger.moment += 1;
            let (stages, instance, attempt, key, choice) = match &line.what {
                Entry::Committed(effects) => {
                    let of = |(stage, instance, kept): &(usize, Option<usize>, Kept)| {
                        ((*stage, *instance), (ledger.moment, kept.clone()))
                    };
                    let rows: Vec<_> = effects.iter().map(of).collect();
                    ledger.committed.extend(rows);
                    continue;
                }
                Entry::Decided { stages, instance, attempt, key, choice } => {
                    (stages, *instance, *attempt, key, *choice)
                }
                _ => continue,
            };
            let is_asked = stages.iter().any(|stage| asked.contains(stage));
            let is_left_out = !stages.iter().any(|stage| included.contains(stage));
            let lacks =
                |stage: &usize| graph.stages[*stage].takes && lost.iter().any(|(source, _)| *source == stage - 1);
            let runs = if stages.iter().any(lacks) { Choice::Missing } else { Choice::Ran };
            let otherwise = if is_left_out { Choice::LeftOut } else { runs };
            // Effects of sessions before, which nothing in this one has made void.
            let effect = |stage: &usize| {
                let kept = before.effect(graph, (*stage, instance)).filter(|kept| key.as_ref() == Some(&kept.key))?;
                ledger.effect(graph, (*stage, instance)).map(|_| kept.clone())
            };
            let effects = stages.iter().map(effect).collect::<Option<Vec<_>>>();
            let in_order = stages.iter().flat_map(|&stage| &graph.stages[stage].needs).all(|need| {
                let since = |stage: &usize| before.committed.get(&(*stage, instance)).map(|(moment, _)| *moment);
                stages.iter().filter_map(since).all(|at| ledger.redone.get(need).is_none_or(|redone| *redone < at))
            });
            let mut due = if is_asked { runs } else { otherwise };
            if let Some(effects) = effects.filter(|_| !is_asked && in_order) {
                due = Choice::Recalled;
                for (&stage, kept) in stages.iter().zip(&effects) {
                    let fault = past.session.faults.get(&stage);
                    let fault = fault.filter(|fault| attempt == 1 || **fault == Fault::BytesGone);
                    let has_bytes = kept.digest.is_none() || fault != Some(&Fault::BytesGone);
                    if !has_bytes && before.was_delivered(graph, stage) {
                        lost.insert((stage, instance));
                    } else if !has_bytes || fault == Some(&Fault::Gone) {
                        due = otherwise;
                        break;
                    }
                    if fault == Some(&Fault::Unknown) {
                        due = if is_left_out { Choice::LeftOut } else { Choice::Unknown };
                        break;
                    }
                }
            }
            law!(choice == due, "session {place}: {stages:?} {instance:?} is {choice:?}, not {due:?}");
            if choice == Choice::Ran {
                let gives = matches!(graph.stages[*stages.last().unwrap()].uses, Some("archive" | "encrypt"));
                for &stage in stages {
                    ledger.ran.insert((stage, instance), ledger.moment);
                    ledger.redone.extend((!gives).then_some((stage, ledger.moment)));
                    lost.remove(&(stage, instance));
                }
            }
        }
    }
    Ok(())
}

/// The stages that a selection asks for, and those that are not left out.
fn parts(graph: &Graph, selection: &Selection) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let count = graph.stages.len();
    let named = |stage: &usize| selection.names().contains(&name(*stage));
    let mut asked: BTreeSet<usize> = (0..count).filter(named).collect();
    // A stage needs only earlier ones.
    if matches!(selection, Selection::From(_)) {
        for stage in 0..count {
            let waits = graph.stages[stage].needs.iter().any(|need| asked.contains(need));
            asked.extend(waits.then_some(stage));
        }
    }
    let mut included = asked.clone();
    for stage in (0..count).rev() {
        let one = &graph.stages[stage];
        included.extend((*selection == Selection::All || one.is_finally).then_some(stage));
        if included.contains(&stage) {
            included.extend(&one.needs);
        }
    }
    (asked, included)
}

fn events_say_what_was_recalled(history: &History) -> Result<(), String> {
    for (place, past) in history.sessions.iter().enumerate() {
        let mut last: BTreeMap<Which, Choice> = BTreeMap::new();
        let mut instances: BTreeMap<usize, bool> = BTreeMap::new();
        for line in &past.lines {
            if let Entry::Decided { stages, instance, choice, .. } = &line.what {
                last.extend(stages.iter().map(|&stage| ((stage, *instance), *choice)));
            }
            let Some(What::StageEnded { stage, instance, outcome, recalled, .. }) = line.event() else { continue };
            let which = of(stage, instance.as_ref());
            let choice = last.get(&which);
            let is_own = choice == Some(&Choice::Recalled) && outcome.is_ok();
            // A stage is recalled if no instance of it did anything.
            let is_recalled = match (which, instances.get(&which.0)) {
                ((_, None), Some(did_nothing)) => *did_nothing && outcome.is_ok(),
                _ => is_own,
            };
            if which.1.is_some() {
                *instances.entry(which.0).or_insert(true) &= is_own || *outcome == Outcome::Skipped;
            }
            law!(*recalled == is_recalled, "session {place}: {which:?} was {choice:?}, and its end says {recalled}");
        }
    }
    Ok(())
}

fn the_last_ends_as_one(history: &History) -> Result<(), String> {
    let Some(Past { lines, finished: Some(finished), plan, .. }) = history.sessions.last() else {
        return Err("it was killed".to_owned());
    };
    let is_missing = |line: &Line| matches!(line.what, Entry::Decided { choice: Choice::Missing, .. });
    if !history.graph.is_calm || lines.iter().any(is_missing) {
        return Ok(());
    }
    let expected = expected(&history.graph);
    for (planned, &is) in plan.stages.iter().zip(&finished.outcomes) {
        let stage = number(&planned.name);
        let should: Outcome = expected.outcomes[stage];
        law!(is == should, "{}: {is:?}, not {should:?}", name(stage));
    }
    Ok(())
}

impl Past {
    /// How the session ended; `None` if it was killed.
    fn outcome(&self) -> Option<Outcome> {
        self.finished.as_ref().map(|finished| verdict(finished).0)
    }

    /// Whether it counts as a success.
    fn counts(&self) -> bool {
        let Some(finished) = self.finished.as_ref().filter(|_| self.outcome().is_some_and(Outcome::is_ok)) else {
            return false;
        };
        let ends = || self.lines.iter().filter_map(Line::event);
        let has_skipped = |instance: &Option<String>, outcome| instance.is_some() && outcome == Outcome::Skipped;
        let undone = |name: &str| {
            let is_undone = |what: &&What| {
                matches!(what, What::StageEnded { stage, instance, outcome, error, .. }
                    if stage == name && (error.is_some() || has_skipped(instance, *outcome)))
            };
            ends().find(is_undone).map(|_| "was not done")
        };
        let is_left_out = |line: &&Line| matches!(line.what, Entry::Decided { choice: Choice::LeftOut, .. });
        let left_out = self.lines.iter().find(is_left_out).map(|_| "a stage".to_owned());
        assurance(&self.plan, &finished.outcomes, &undone, left_out.as_slice()).is_ok()
    }
}

/// A session that counts leaves each delivery in the journal: this session did it, or one before. `finally` is not kept there.
fn what_counts_has_delivered(history: &History) -> Result<(), String> {
    let mut committed: BTreeSet<Which> = BTreeSet::new();
    for (place, past) in history.sessions.iter().enumerate() {
        let mut ended: BTreeMap<Which, Outcome> = BTreeMap::new();
        for line in &past.lines {
            match &line.what {
                Entry::Committed(effects) => {
                    committed.extend(effects.iter().map(|(stage, instance, _)| (*stage, *instance)));
                }
                Entry::Decided { stages, instance, choice: Choice::Ran, .. } => {
                    committed.retain(|which| which.1 != *instance || !stages.contains(&which.0));
                }
                _ => {}
            }
            if let Some(What::StageEnded { stage, instance, outcome, .. }) = line.event() {
                ended.insert(of(stage, instance.as_ref()), *outcome);
            }
        }
        let is_delivery = |stage: usize| history.graph.stages[stage].uses == Some("upload");
        for (which, outcome) in ended.iter().filter(|(which, _)| past.counts() && is_delivery(which.0)) {
            let stage = &history.graph.stages[which.0];
            let is_whole = which.1.is_none();
            law!(!is_whole || outcome.is_ok(), "session {place} counts, and {} ended in {outcome:?}", name(which.0));
            let is_kept = stage.is_finally || stage.matrix.is_some() == is_whole || committed.contains(which);
            law!(is_kept || !outcome.is_ok(), "session {place} counts, and the journal has no {which:?}");
        }
    }
    Ok(())
}

fn a_success_recovers(history: &History) -> Result<(), String> {
    let mut log = Vec::new();
    let mut is_broken = false;
    for (place, past) in history.sessions.iter().enumerate() {
        log.insert(0, assurance::Past::Began);
        let (outcome, counts) = (past.outcome(), past.counts());
        let recovers = recovers(log.iter().copied()).failure;
        law!(!counts || recovers == is_broken, "session {place}: {recovers}, not {is_broken}");
        // A session that was killed is a failure that nobody was told of.
        is_broken = !counts && (is_broken || outcome.is_none_or(|outcome| outcome == Outcome::Failure));
        log.splice(0..0, outcome.map(|outcome| assurance::Past::Ended { is_own: true, outcome, counts }));
    }
    Ok(())
}

//! What holds for every run, read from its trace.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::fake::{Entry, Line, Trace, number, run};
use super::graphs::{Condition, Graph, Matrix, Stage, name};
use super::reference::{expected, worst};
use super::sessions::{self, History};
use crate::event::{Outcome, What};
use crate::value::CancelReason;

type Law = fn(&Seen<'_>) -> Result<(), String>;

const LAWS: &[(&str, Law)] = &[
    ("the plan joins what is one stream", units_are_as_planned),
    ("every stage and instance ends exactly once", each_ends_once),
    ("nothing starts before all that it needs has ended", none_starts_early),
    ("what runs was allowed to by its needs", needs_are_met),
    ("what an instance gave is worked on, although another one failed", parts_are_worked_on),
    ("never more at once than may", never_too_many),
    ("`finally` is last, and always", finally_is_last),
    ("after a stop nothing starts that may not", a_stop_stops),
    ("after the failure of an instance `fail-fast` starts no other", fail_fast_is_fast),
    ("each failure has its error", each_failure_has_its_error),
    ("results are as the rules say", results_are_as_the_rules_say),
];

/// A stage, or an instance of it.
type Which = (usize, Option<usize>);

/// A run, with what is asked of it again and again.
struct Seen<'a> {
    graph: &'a Graph,
    trace: &'a Trace,
    /// Where in the trace each one ended, and how.
    ended: BTreeMap<Which, (usize, Outcome)>,
}

/// A law, told where it is broken.
macro_rules! law {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}
pub(super) use law;

impl<'a> Seen<'a> {
    fn of(graph: &'a Graph, trace: &'a Trace) -> Self {
        let mut ended = BTreeMap::new();
        for (at, line) in trace.lines.iter().enumerate() {
            if let Some(What::StageEnded { stage, instance, outcome, .. }) = line.event() {
                ended.entry(which(stage, instance.as_ref())).or_insert((at, *outcome));
            }
        }
        Self { graph, trace, ended }
    }

    fn stages(&self) -> impl Iterator<Item = (usize, &Stage)> {
        self.graph.stages.iter().enumerate()
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.trace.lines.iter().enumerate()
    }

    /// Each attempt: where in the trace it began, of which unit and instance, and its number.
    fn attempts(&self) -> impl Iterator<Item = (usize, Which, u32)> {
        self.lines().filter_map(|(at, line)| match line.what {
            Entry::Began { first, instance, number } => Some((at, (first, instance), number)),
            _ => None,
        })
    }

    fn ended_before(&self, stage: usize, at: usize) -> bool {
        self.ended.get(&(stage, None)).is_some_and(|(end, _)| *end < at)
    }

    fn outcome(&self, stage: usize) -> Outcome {
        self.trace.finished.outcomes[self.place(stage)]
    }

    /// Where a stage stands in the plan: as in the file, `finally` last.
    fn place(&self, stage: usize) -> usize {
        let all = || self.graph.order.iter().copied();
        let is_finally = |stage: usize| self.graph.stages[stage].is_finally;
        let mut planned = all().filter(|&other| !is_finally(other)).chain(all().filter(|&other| is_finally(other)));
        planned.position(|other| other == stage).unwrap()
    }

    /// Whether a stage works on what a failed one gave in part: its only need that did not end well is the one that its matrix
    /// lists.
    fn is_in_part(&self, stage: usize) -> bool {
        let Some(Matrix { over: Some(over), .. }) = self.graph.stages[stage].matrix else { return false };
        let is_open = self.graph.stages[stage].condition == Condition::None;
        let bad = self.graph.stages[stage].needs.iter().filter(|&&need| !self.outcome(need).is_ok());
        is_open && self.outcome(over) == Outcome::Failure && self.has_instances(over) && bad.count() == 1
    }

    fn has_instances(&self, stage: usize) -> bool {
        self.ended.range((stage, Some(0))..).next().is_some_and(|((other, _), _)| *other == stage)
    }

    /// Where in the trace the run was stopped, and when.
    fn stopped(&self) -> Option<(usize, u64)> {
        let at = self.trace.lines.iter().position(|line| match self.trace.finished.stopped {
            Some(CancelReason::RunTimeout) => line.at >= self.graph.timeout.unwrap_or_default(),
            Some(_) => matches!(line.what, Entry::Stopped),
            None => false,
        })?;
        Some((at, self.trace.lines[at].at))
    }
}

fn which(stage: &str, instance: Option<&String>) -> Which {
    (number(stage), instance.map(|instance| instance.parse().unwrap()))
}

/// The stage or instance that an event is about.
fn speaker(what: &What) -> Option<Which> {
    what.subject().map(|(stage, instance)| which(stage, instance.map(str::to_owned).as_ref()))
}

fn units_are_as_planned(seen: &Seen<'_>) -> Result<(), String> {
    let plan = &seen.trace.plan;
    let mut planned: Vec<Vec<usize>> = plan
        .units
        .iter()
        .map(|unit| unit.stages.iter().map(|&stage| number(&plan.stages[stage].name)).collect())
        .collect();
    planned.sort();
    let firsts = seen.stages().filter(|(_, stage)| !stage.is_joined).map(|(first, _)| first);
    let meant: Vec<Vec<usize>> = firsts.map(|first| seen.graph.unit(first).collect()).collect();
    law!(planned == meant, "{planned:?}, not {meant:?}");
    Ok(())
}

fn each_ends_once(seen: &Seen<'_>) -> Result<(), String> {
    for (at, line) in seen.lines() {
        let Some(what) = line.event() else { continue };
        let Some((stage, instance)) = speaker(what) else { continue };
        let end = seen.ended.get(&(stage, instance)).map(|(end, _)| *end);
        law!(end.is_some_and(|end| at <= end), "{} {instance:?} after its end, or it has none: {what:?}", name(stage));
    }
    for (stage, one) in seen.stages() {
        let end = seen.ended.get(&(stage, None));
        law!(end.is_some_and(|(_, outcome)| *outcome == seen.outcome(stage)), "{}: its event differs", name(stage));
        let expanded =
            seen.trace.lines.iter().any(|line| matches!(line.what, Entry::Expanded(other) if other == stage));
        // What it lists may be of a stage that failed before it had instances, and whose failure the file forgives.
        let has_values = |matrix: &&Matrix| match matrix.over {
            Some(over) => seen.has_instances(over),
            None => !matrix.is_broken,
        };
        let matrix = one.matrix.as_ref().filter(|matrix| expanded && has_values(matrix));
        let instances: Vec<(usize, (usize, Outcome))> =
            seen.ended.iter().filter_map(|((s, i), end)| (*s == stage).then_some(((*i)?, *end))).collect();
        let count = matrix.map_or(0, |matrix| matrix.count);
        law!(instances.len() == count, "{}: {} of {count} instances end", name(stage), instances.len());
        let outcomes: Vec<Outcome> = instances.iter().map(|(_, (_, outcome))| *outcome).collect();
        if count > 0 {
            let is_counted = |outcome: &Outcome| !seen.is_in_part(stage) || !outcome.is_ok();
            let together = worst(&outcomes.into_iter().filter(is_counted).collect::<Vec<_>>());
            law!(together == seen.outcome(stage), "{}: its instances give {together:?}", name(stage));
        }
        for (instance, (at, _)) in instances {
            law!(end.is_some_and(|(end, _)| at < *end), "{} {instance} ends after its stage", name(stage));
        }
    }
    Ok(())
}

fn none_starts_early(seen: &Seen<'_>) -> Result<(), String> {
    let mut last: BTreeMap<Which, u32> = BTreeMap::new();
    for (at, line) in seen.lines() {
        let stage = match line.what {
            Entry::Began { first, instance, number } => {
                let before = last.insert((first, instance), number).unwrap_or(0);
                law!(number == before + 1, "{}: attempt {number} after {before}", name(first));
                let limit = seen.graph.stages[seen.graph.unit(first).end - 1].attempts;
                law!(number <= limit, "{}: attempt {number} of {limit}", name(first));
                first
            }
            Entry::Judged(stage) | Entry::Expanded(stage) | Entry::Noted(stage) => stage,
            _ => continue,
        };
        law!(!seen.ended_before(stage, at), "{} begins after its end", name(stage));
        for need in seen.graph.needs_of_unit(stage) {
            law!(seen.ended_before(need, at), "{} begins before the end of {}", name(stage), name(need));
        }
    }
    Ok(())
}

fn needs_are_met(seen: &Seen<'_>) -> Result<(), String> {
    let began: BTreeSet<usize> = seen.attempts().map(|(_, (first, _), _)| first).collect();
    for (stage, one) in seen.stages() {
        let ran = began.contains(&seen.graph.first(stage));
        let is_ok = seen.outcome(stage).is_ok();
        // A broken `if` may be forgiven.
        law!(!is_ok || ran || one.continue_on_error, "{} is done, but never ran", name(stage));
        if one.condition.names_a_status() {
            continue;
        }
        let unit = seen.graph.unit(seen.graph.first(stage));
        // In a chain that fails as a whole, a stage may be forgiven and the one before it not.
        let matters = |need: &usize| if unit.contains(need) { is_ok && !one.continue_on_error } else { is_ok || ran };
        for &need in one.needs.iter().filter(|need| matters(need)) {
            if ran
                && !is_ok
                && seen.is_in_part(stage)
                && one.matrix.as_ref().is_some_and(|matrix| matrix.over == Some(need))
            {
                continue;
            }
            law!(seen.outcome(need).is_ok(), "{} ran, though {} did not end well", name(stage), name(need));
        }
    }
    Ok(())
}

/// A stage without `if` whose matrix lists what another one gave, which failed: it works on what there is, on nothing else, and
/// does not end well.
fn parts_are_worked_on(seen: &Seen<'_>) -> Result<(), String> {
    let Trace { finished, .. } = seen.trace;
    for (stage, one) in seen.stages().filter(|(stage, _)| seen.is_in_part(*stage)) {
        let Some(Matrix { over: Some(over), fail_fast, .. }) = one.matrix else { continue };
        law!(!seen.outcome(stage).is_ok(), "{} ends well", name(stage));
        let others = || one.needs.iter().filter(|need| **need != over);
        let is_due = others().all(|&need| seen.outcome(need).is_ok()) && finished.stopped.is_none();
        let began: BTreeSet<Which> = seen.attempts().map(|(_, which, _)| which).collect();
        for ((_, instance), (_, outcome)) in
            seen.ended.iter().filter(|((other, instance), _)| *other == over && instance.is_some())
        {
            let ran = began.contains(&(stage, *instance));
            law!(!ran || outcome.is_ok(), "{} {instance:?} runs on nothing", name(stage));
            // The failure of an instance that the file forgives gives nothing, either.
            let gave = outcome.is_ok() && !seen.graph.stages[over].continue_on_error;
            law!(ran || !is_due || !gave || fail_fast, "{} {instance:?} never ran", name(stage));
        }
    }
    Ok(())
}

fn never_too_many(seen: &Seen<'_>) -> Result<(), String> {
    let mut running: BTreeSet<Which> = BTreeSet::new();
    for (_, line) in seen.lines() {
        match (&line.what, line.event()) {
            (Entry::Began { first, instance, .. }, _) => {
                running.insert((*first, *instance));
                let most = seen.graph.max_parallel;
                law!(running.len() <= most, "{} units run, {most} may: {running:?}", running.len());
                let matrix = seen.graph.stages[*first].matrix.as_ref();
                let own = running.iter().filter(|(other, _)| other == first).count();
                let most = matrix.and_then(|matrix| matrix.max_parallel).unwrap_or(usize::MAX);
                law!(own <= most, "{own} instances of {} run, {most} may", name(*first));
            }
            (_, Some(What::StageEnded { stage, instance, .. })) => {
                let (stage, instance) = which(stage, instance.as_ref());
                if stage + 1 == seen.graph.unit(seen.graph.first(stage)).end {
                    running.remove(&(seen.graph.first(stage), instance));
                }
            }
            _ => {}
        }
    }
    law!(running.is_empty(), "{running:?} run after the end");
    Ok(())
}

fn finally_is_last(seen: &Seen<'_>) -> Result<(), String> {
    let is_finally = |stage: usize| seen.graph.stages[stage].is_finally;
    let mut has_begun = false;
    for (_, line) in seen.lines() {
        let stage = match &line.what {
            Entry::Began { first: stage, .. } | Entry::Judged(stage) | Entry::Expanded(stage) | Entry::Noted(stage) => {
                *stage
            }
            Entry::Event(what) => speaker(what).map_or(usize::MAX, |(stage, _)| stage),
            Entry::Stopped | Entry::Decided { .. } | Entry::Committed(_) => continue,
        };
        law!(is_finally(stage) || !has_begun, "{} goes on in `finally`: {:?}", name(stage), line.what);
        has_begun |= is_finally(stage);
    }
    let began: BTreeSet<usize> = seen.attempts().map(|(_, (first, _), _)| first).collect();
    for (stage, one) in seen.stages().filter(|(_, stage)| stage.is_finally && !stage.is_joined) {
        let waits = !seen.graph.needs_of_unit(stage).is_empty();
        let has_none = one.matrix.as_ref().is_some_and(|m| m.is_broken || m.skipped.len() == m.count);
        let is_open = matches!(one.condition, Condition::None | Condition::Always | Condition::Holds(true));
        // What cannot be put on record must not go on.
        let is_due = !waits && is_open && !has_none && seen.trace.finished.record_error.is_none();
        law!(!is_due || began.contains(&stage), "{} never began", name(stage));
    }
    Ok(())
}

fn a_stop_stops(seen: &Seen<'_>) -> Result<(), String> {
    let Trace { lines, finished, .. } = seen.trace;
    let told = lines.iter().any(|line| matches!(line.what, Entry::Stopped));
    law!(!told || finished.stopped.is_some(), "nobody heard of the stop");
    let Some((stop, moment)) = seen.stopped() else {
        law!(finished.stopped.is_none(), "stopped by nobody");
        return Ok(());
    };
    let mut begun = BTreeSet::new();
    for (at, line) in seen.lines() {
        let (first, instance) = match line.what {
            Entry::Began { first, instance, .. } => (first, instance),
            Entry::Noted(stage) if !seen.graph.stages[stage].is_joined => (stage, None),
            _ => continue,
        };
        let is_again = matches!(line.what, Entry::Began { .. }) && begun.contains(&(first, instance));
        if at < stop {
            begun.insert((first, instance));
            continue;
        }
        let stage = &seen.graph.stages[first];
        // What runs of `finally` goes on to its own limit, unless nothing can be put on record.
        let goes_on = stage.is_finally && finished.record_error.is_none();
        let is_allowed = goes_on || (stage.is_finally || stage.condition.names_a_status()) && !is_again;
        // What was due when the stop came may begin in the same moment, except after a stop that the engine makes itself.
        let was_due = seen.graph.needs_of_unit(first).iter().all(|&need| seen.ended_before(need, stop));
        let is_slow = line.at == moment && was_due && finished.record_error.is_none();
        law!(is_allowed || is_slow, "{} {instance:?} begins after the stop", name(first));
    }
    Ok(())
}

fn fail_fast_is_fast(seen: &Seen<'_>) -> Result<(), String> {
    for (stage, one) in seen.stages().filter(|(_, one)| one.matrix.as_ref().is_some_and(|matrix| matrix.fail_fast)) {
        let ends = seen.ended.iter().filter(|((other, instance), _)| *other == stage && instance.is_some());
        let first = ends.filter(|(_, (_, outcome))| *outcome == Outcome::Failure).map(|(_, (at, _))| *at).min();
        let Some(failed) = first else { continue };
        for (at, (other, instance), _) in seen.attempts() {
            let is_late = other == stage && at > failed && seen.trace.lines[at].at > seen.trace.lines[failed].at;
            law!(!is_late, "{} {instance:?} begins after the failure: {one:?}", name(stage));
        }
    }
    Ok(())
}

fn each_failure_has_its_error(seen: &Seen<'_>) -> Result<(), String> {
    let failed = seen.ended.iter().filter(|((stage, instance), (_, outcome))| {
        let has_instances = instance.is_none() && seen.ended.contains_key(&(*stage, Some(0)));
        *outcome == Outcome::Failure && !has_instances
    });
    let mut failed: Vec<usize> = failed.map(|((stage, _), _)| seen.place(*stage)).collect();
    let mut told: Vec<usize> = seen.trace.finished.errors.iter().map(|(stage, _)| *stage).collect();
    failed.sort_unstable();
    told.sort_unstable();
    law!(failed == told, "{failed:?} failed, {told:?} have errors");
    Ok(())
}

fn results_are_as_the_rules_say(seen: &Seen<'_>) -> Result<(), String> {
    if !seen.graph.is_calm {
        return Ok(());
    }
    let expected = expected(seen.graph);
    for (stage, _) in seen.stages() {
        let (is, should) = (seen.outcome(stage), expected.outcomes[stage]);
        law!(is == should, "{}: {is:?}, not {should:?}", name(stage));
        for (instance, &should) in expected.instances[stage].iter().enumerate() {
            let is = seen.ended.get(&(stage, Some(instance))).map(|(_, outcome)| *outcome);
            law!(is == Some(should), "{} {instance}: {is:?}, not {should:?}", name(stage));
        }
        let first = seen.graph.first(stage);
        for (instance, &should) in expected.attempts[stage].iter().enumerate() {
            let own = |which: &Which| which.0 == first && which.1.unwrap_or(0) == instance;
            let is = seen.attempts().filter(|(_, which, _)| own(which)).count();
            law!(is == should as usize, "{} {instance}: {is} attempts, not {should}", name(stage));
        }
    }
    Ok(())
}

/// The first law that a graph breaks, in one whole session or in a history of several.
fn broken(number: u64) -> Option<String> {
    let graph = Arc::new(Graph::of(number));
    broken_in_one_session(number, &graph).or_else(|| broken_in_history(number, &graph))
}

fn broken_in_history(number: u64, graph: &Arc<Graph>) -> Option<String> {
    let history = catch_unwind(AssertUnwindSafe(|| History::run(number, graph)));
    let broken = match history.unwrap_or_else(|_| Err("the engine panics".to_owned())) {
        Ok(history) => {
            if std::env::var("TL_GRAPH").is_ok() {
                eprintln!("{history:#?}");
            }
            sessions::LAWS.iter().find_map(|(law, holds)| Some(format!("{law}: {}", holds(&history).err()?)))
        }
        Err(error) => Some(error),
    };
    broken.map(|broken| format!("sessions of graph {number}: {broken}"))
}

fn broken_in_one_session(number: u64, graph: &Arc<Graph>) -> Option<String> {
    let trace = catch_unwind(AssertUnwindSafe(|| run(graph))).unwrap_or_else(|_| Err("the engine panics".to_owned()));
    let broken = match trace {
        Ok(trace) => {
            if std::env::var("TL_GRAPH").is_ok() {
                trace.lines.iter().for_each(|line| eprintln!("{line:?}"));
                eprintln!("{graph:#?}");
            }
            let seen = Seen::of(graph, &trace);
            LAWS.iter().find_map(|(law, holds)| Some(format!("{law}: {}", holds(&seen).err()?)))
        }
        Err(error) => Some(error),
    };
    broken.map(|broken| format!("graph {number}: {broken}"))
}

/// `TL_GRAPHS` is how many, `TL_GRAPH` the one to look at.
#[test]
fn the_laws_hold_for_random_graphs() {
    let read = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = read("TL_GRAPH").map_or(0..read("TL_GRAPHS").unwrap_or(2_000), |seed| seed..seed + 1);
    let broken: Vec<String> = seeds.clone().filter_map(broken).collect();
    let count = broken.len();
    let some = broken.into_iter().take(20).collect::<Vec<_>>().join("\n");
    assert!(count == 0, "{count} of {} graphs (TL_GRAPH=… runs one):\n{some}", seeds.count());
}

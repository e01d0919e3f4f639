//! Which stages a run is about, and what that leaves out.

use std::collections::BTreeSet;

use super::Plan;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Outcome;
use crate::expression::did_you_mean;
use crate::pipeline::Pipeline;
use crate::value::Name;

/// Which stages a run is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    #[default]
    All,
    /// These, and what they need.
    Only(Vec<String>),
    /// These, all that waits for them, directly or not, and what all of those need.
    From(Vec<String>),
}

/// The part of a stage in a selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// It runs, unless an earlier session of the run did it.
    #[default]
    Included,
    /// It runs, whatever an earlier session did.
    Asked,
    /// It does not run. What an earlier session did of it still counts.
    LeftOut,
}

impl Selection {
    /// Refuses names that the pipeline does not have.
    pub fn check(&self, pipeline: &Pipeline) -> Result<()> {
        let known = || pipeline.stages.keys().chain(pipeline.finally.keys()).map(Name::as_str);
        let Some(unknown) = self.names().iter().find(|name| known().all(|known| known != **name)) else {
            return Ok(());
        };
        let help = did_you_mean(unknown, known()).map_or_else(
            || format!("there are {}", known().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Err(Diagnostic::usage(codes::TL0783, format!("`{}` has no stage `{unknown}`", pipeline.name)).help(help))
    }

    /// The stages that are named.
    pub fn names(&self) -> &[String] {
        match self {
            Self::All => &[],
            Self::Only(names) | Self::From(names) => names,
        }
    }

    /// The part of each stage, from the names and needs of all.
    pub(super) fn parts(&self, names: &[&str], needs: &[Vec<usize>]) -> Vec<Part> {
        let is_named = |stage: usize| self.names().iter().any(|name| name == names[stage]);
        let chosen: Vec<usize> = (0..names.len()).filter(|&stage| is_named(stage)).collect();
        let asked = match self {
            Self::All => return vec![Part::Included; names.len()],
            Self::Only(_) => chosen,
            Self::From(_) => {
                let mut waiting = vec![Vec::new(); needs.len()];
                for (stage, needs) in needs.iter().enumerate() {
                    needs.iter().for_each(|&need| waiting[need].push(stage));
                }
                reached(chosen, &waiting)
            }
        };
        let mut parts = vec![Part::LeftOut; names.len()];
        for stage in reached(asked.clone(), needs) {
            parts[stage] = Part::Included;
        }
        for stage in asked {
            parts[stage] = Part::Asked;
        }
        parts
    }
}

impl Part {
    /// The answer to a question about a stage before it starts: its `if`, its matrix, its settings. `None` if the question has
    /// no answer and the stage is left out: nobody asked for it, so it must not fail the run.
    pub fn forgive<T, E>(self, answer: Result<T, E>) -> Result<Option<T>, E> {
        match answer {
            Err(_) if self == Self::LeftOut => Ok(None),
            answer => answer.map(Some),
        }
    }
}

impl Plan {
    /// The part of a unit. Its stages have the same one, except that a selection may ask for some of those that it includes:
    /// they run together, so all of them run.
    pub fn part(&self, unit: usize) -> Part {
        let parts = || self.units[unit].stages.iter().map(|&stage| self.stages[stage].part);
        if parts().any(|part| part == Part::Asked) { Part::Asked } else { parts().next().unwrap_or_default() }
    }

    /// The names of all stages that the selection left undone: those in `left_out`, and the skipped ones that need them. A run
    /// with such stages is not whole, whatever its outcome.
    pub fn names_left_out(&self, mut left_out: BTreeSet<usize>, outcomes: &[Outcome]) -> Vec<String> {
        let is_skipped = |stage: usize| self.stages[stage].part == Part::LeftOut && outcomes[stage] == Outcome::Skipped;
        loop {
            let needs_one = |stage: &usize| self.stages[*stage].needs.iter().any(|need| left_out.contains(need));
            let more = (0..self.stages.len()).filter(|stage| !left_out.contains(stage));
            let more: Vec<usize> = more.filter(|&stage| is_skipped(stage)).filter(needs_one).collect();
            // Repeat until nothing changes: a file may list a stage before its needs.
            if more.is_empty() {
                return left_out.into_iter().map(|stage| self.stages[stage].name.clone()).collect();
            }
            left_out.extend(more);
        }
    }
}

/// These, and all that is reached from them.
fn reached(mut found: Vec<usize>, next: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = vec![false; next.len()];
    found.iter().for_each(|&stage| seen[stage] = true);
    let mut place = 0;
    while let Some(&stage) = found.get(place) {
        for &other in &next[stage] {
            if !std::mem::replace(&mut seen[other], true) {
                found.push(other);
            }
        }
        place += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `a` to `d` need one after the other, `x` needs nothing, `f` is in `finally`. The file lists `d` before its needs.
    fn plan(selection: &Selection) -> Plan {
        let stage = |needs: &[&str]| json!({ "needs": needs, "run": ["x"] });
        let file = json!({
            "version": 1, "name": "t",
            "stages": { "d": stage(&["c"]), "a": stage(&[]), "b": stage(&["a"]), "c": stage(&["b"]), "x": stage(&[]) },
            "finally": { "f": stage(&[]) },
        });
        Plan::select(&serde_json::from_value(file).unwrap(), selection)
    }

    #[test]
    fn a_selection_takes_what_its_stages_need() {
        use Part::{Asked, Included, LeftOut};
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        // In the order of the file: d, a, b, c, x, f. `finally` is never left out.
        for (selection, parts) in [
            (Selection::All, [Included; 6]),
            (Selection::Only(names(&["b"])), [LeftOut, Included, Asked, LeftOut, LeftOut, Included]),
            (Selection::Only(names(&["x", "f"])), [LeftOut, LeftOut, LeftOut, LeftOut, Asked, Asked]),
            (Selection::From(names(&["c"])), [Asked, Included, Included, Asked, LeftOut, Included]),
            (Selection::From(names(&["a"])), [Asked, Asked, Asked, Asked, LeftOut, Included]),
        ] {
            let plan = plan(&selection);
            assert_eq!(plan.stages.iter().map(|stage| stage.part).collect::<Vec<_>>(), parts, "{selection:?}");
        }
    }

    #[test]
    fn a_chain_is_asked_for_as_a_whole() {
        let file = json!({
            "version": 1, "name": "t",
            "stages": {
                "a": { "uses": "archive", "with": { "sources": ["x"] } },
                "e": { "needs": ["a"], "uses": "encrypt", "with": { "artifact": "${{ needs.a.outputs.artifact }}" } },
                "u": { "needs": ["e"], "uses": "upload", "with": { "artifact": "${{ needs.e.outputs.artifact }}" } },
            },
        });
        let pipeline = serde_json::from_value(file).unwrap();
        let parts = |selection: &Selection| {
            let plan = Plan::select(&pipeline, selection);
            plan.units.iter().enumerate().map(|(n, unit)| (unit.stages.len(), plan.part(n))).collect::<Vec<_>>()
        };
        let only = |name: &str| Selection::Only(vec![name.to_owned()]);
        assert_eq!(parts(&Selection::All), [(3, Part::Included)]);
        assert_eq!(parts(&only("u")), [(3, Part::Asked)]);
        assert_eq!(parts(&only("e")), [(2, Part::Asked), (1, Part::LeftOut)]);
    }

    #[test]
    fn what_a_selection_left_undone_has_names() {
        use Outcome::{Skipped, Success};
        let only = Selection::Only(vec!["a".to_owned()]);
        for (left_out, outcomes, names) in [
            (vec![2, 4], [Skipped, Success, Skipped, Skipped, Skipped, Success], vec!["d", "b", "c", "x"]),
            // An earlier session did `c`, and `d` is skipped for a reason of its own.
            (vec![2, 4], [Skipped, Success, Skipped, Success, Skipped, Success], vec!["b", "x"]),
            (vec![], [Skipped; 6], vec![]),
            // `x` needs nothing, `f` is not left out.
            (vec![3], [Skipped; 6], vec!["d", "c"]),
        ] {
            assert_eq!(
                plan(&only).names_left_out(left_out.iter().copied().collect(), &outcomes),
                names,
                "{left_out:?}"
            );
        }
    }

    #[test]
    fn only_what_is_left_out_is_forgiven() {
        assert_eq!(Part::LeftOut.forgive(Err::<u8, _>("no")), Ok(None));
        assert_eq!(Part::LeftOut.forgive(Ok::<_, &str>(1)), Ok(Some(1)));
        for part in [Part::Included, Part::Asked] {
            assert_eq!(part.forgive(Err::<u8, _>("no")), Err("no"), "{part:?}");
        }
    }
}

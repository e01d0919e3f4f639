use crate::diagnostic::{Diagnostic, Result, codes};
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

/// What a selection has to do with a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// It is done, unless an earlier session of the run did it.
    #[default]
    Included,
    /// It is done, whatever an earlier session did.
    Asked,
    /// It is not done. What an earlier session did of it still counts.
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

    /// For stages with these names and needs, what it has to do with each.
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

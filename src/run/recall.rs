//! What earlier sessions of a run did, and whether it still holds: only that is not done again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use serde::Deserialize as _;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::chain::Ready;
use super::work::{PipelineWork, unwritten};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::engine::{Attempt, Done, Ended, Recalled};
use crate::expression::Expression;
use crate::graph::Plan;
use crate::pipeline::{Stage, expressions_in, paths_in};
use crate::stages::artifact::{ArtifactRef, Spool};
use crate::stages::{self, Flow};
use crate::state::{Effect, PriorRun};
use crate::value::{Digest, hex, parse_sha256};

/// What the journal says is done.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// By stage and number of instance.
    effects: HashMap<usize, BTreeMap<Option<usize>, Effect>>,
    /// The stages that wait for each one.
    dependants: Vec<Vec<usize>>,
}

impl Past {
    pub(super) fn of(left: &PriorRun, plan: &Plan) -> Self {
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

    fn effect(&self, stage: usize, instance: Option<usize>) -> Option<&Effect> {
        self.effects.get(&stage)?.get(&instance)
    }

    /// The effects of what waits for a stage.
    fn of_dependants(&self, stage: usize) -> impl Iterator<Item = &Effect> {
        let dependants = self.dependants.get(stage).into_iter().flatten();
        dependants.filter_map(|dependant| self.effects.get(dependant)).flat_map(BTreeMap::values)
    }
}

impl PipelineWork {
    /// Names all that a unit depends on: what its stages are set to, without secrets, what the files say that they name,
    /// the stores, and the bytes that earlier stages gave. `None` for what is done again each time.
    pub(super) fn unit_key(&self, attempt: &Attempt, ready: &[Ready]) -> Option<String> {
        let stages = &self.plan.units[attempt.unit].stages;
        let mut all = vec![json!({ "format": 1 })];
        for (&stage, ready) in stages.iter().zip(ready) {
            let planned = &self.plan.stages[stage];
            if planned.is_finally {
                return None;
            }
            let (settings, kind) = match ready {
                Ready::Kind(kind, with) => (with.clone(), Some(*kind)),
                Ready::Program(command) => (command.described(), None),
            };
            let store = ["/store", "/object/store"].iter().find_map(|at| settings.pointer(at)?.as_str());
            let store = store.and_then(|name| self.loaded.document.value()["stores"].get(name));
            all.push(json!({
                "stage": planned.name,
                "kind": planned.stage.uses,
                "settings": settings,
                "secrets": names_of_secrets(&planned.stage),
                "files": kind.map(|kind| digests_of_files(&settings, (kind.schema)())),
                "store": store,
            }));
        }
        all.push(json!({ "instance": attempt.instance.as_ref().map(|instance| &instance.matrix) }));
        let mut artifacts: Vec<String> = stages.iter().flat_map(|&stage| self.digests_of_needs(stage)).collect();
        artifacts.sort();
        all.push(artifacts.into());
        let mut all = Json::Array(all);
        // A secret that was changed is no other work.
        self.shared.masker.mask_json(&mut all);
        Some(hex(&Sha256::digest(all.to_string())))
    }

    /// What an earlier session did of a unit, if all of it was done with the same key and is still there, and nothing that
    /// it waits for was done again. Fails, with the stage, where that cannot be found out now: what is proven done is not done
    /// again for a store that does not answer, or for a stop.
    pub(super) fn recall(
        &self,
        attempt: &Attempt,
        key: &str,
    ) -> std::result::Result<Option<Vec<Ended>>, (usize, Diagnostic)> {
        let stages = &self.plan.units[attempt.unit].stages;
        let mut needs = stages.iter().flat_map(|&stage| &self.plan.stages[stage].needs);
        let is_fresh = {
            let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
            needs.any(|need| fresh.contains(need))
        };
        if is_fresh {
            return Ok(None);
        }
        let instance = attempt.instance.as_ref().map(|instance| instance.number);
        let effects = stages.iter().map(|&stage| self.past.effect(stage, instance)).collect::<Option<Vec<&Effect>>>();
        let Some(effects) = effects else { return Ok(None) };
        for (&stage, effect) in stages.iter().zip(&effects) {
            if effect.key != key || !self.is_there(stage, attempt, effect).map_err(|error| (stage, error))? {
                return Ok(None);
            }
        }
        let ended = |(&stage, effect): (&usize, &Effect)| {
            let outputs = effect.outputs.as_object().cloned().unwrap_or_default();
            Ended { recalled: Some(Recalled { warned: effect.warned }), ..Ended::new(stage, Ok(outputs)) }
        };
        Ok(Some(stages.iter().zip(effects).map(ended).collect()))
    }

    /// Whether an earlier session did a stage, to its end.
    pub(super) fn was_done(&self, stage: usize, attempt: &Attempt) -> bool {
        self.past.effect(stage, attempt.instance.as_ref().map(|instance| instance.number)).is_some()
    }

    /// A unit is done in this session, and so is what waits for it. What an earlier session did of them counts no more, also
    /// not for a later one.
    pub(super) fn begin_anew(&self, attempt: &Attempt) -> Result<()> {
        let stages = &self.plan.units[attempt.unit].stages;
        // Whether an artifact became another one, the keys of those that take it tell.
        let gives_artifact =
            stages.last().is_some_and(|&stage| matches!(self.flow(stage), Flow::Source | Flow::Filter));
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, source| !stages.contains(source));
        if !gives_artifact {
            self.fresh.lock().unwrap_or_else(PoisonError::into_inner).extend(stages);
        }
        let instance = attempt.instance.as_ref().map(|instance| instance.number);
        let own = stages.iter().filter_map(|&stage| self.past.effect(stage, instance));
        let waiting = stages.iter().filter(|_| !gives_artifact).flat_map(|&stage| self.past.of_dependants(stage));
        let forgotten: Vec<_> = own.chain(waiting).map(|effect| (effect.stage.clone(), effect.instance)).collect();
        match &self.journal {
            Some(journal) if !forgotten.is_empty() && attempt.number == 1 => {
                journal.forget(forgotten).map_err(|error| unwritten(&error))
            }
            _ => Ok(()),
        }
    }

    /// Whether what a stage left is as it left it: its artifact in the work folder, and what its kind looks at. What nobody
    /// may look at is done again.
    fn is_there(&self, stage: usize, attempt: &Attempt, effect: &Effect) -> Result<bool> {
        let instance = effect.instance;
        if let Some(artifact) = &effect.artifact {
            let spool = self.kept_spool(artifact, &|| attempt.cancel.is_cancelled());
            attempt.cancel.check()?;
            match spool {
                Some(spool) => self.keep_spool(stage, instance, spool),
                // What was delivered is not collected anew because nobody keeps it any more: it would be something else.
                None if self.was_delivered(stage) => {
                    let Some(digest) = digest_in(artifact) else { return Ok(false) };
                    self.keep_spool(stage, instance, Spool::kept(self.folder.join("gone"), digest));
                    let lost = ArtifactRef::of(&self.key(stage, instance));
                    self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(lost, stage);
                }
                None => return Ok(false),
            }
        }
        let kind = self.plan.stages[stage].stage.uses.as_deref().and_then(stages::find);
        let (key, stopped) = (self.key(stage, instance), attempt.cancel.as_question());
        let holds = kind.map_or(Ok(true), |kind| (kind.take_up)(&effect.outputs, &key, &self.shared, &stopped));
        attempt.cancel.check()?;
        match holds {
            Err(error) if error.transient => Err(error),
            holds => Ok(holds.is_ok_and(|holds| holds)),
        }
    }

    /// Whether an earlier session delivered what a stage gives, through whatever filters.
    fn was_delivered(&self, stage: usize) -> bool {
        self.past.dependants.get(stage).into_iter().flatten().any(|&taker| match self.flow(taker) {
            Flow::Sink => self.past.effects.contains_key(&taker),
            Flow::Filter => self.was_delivered(taker),
            Flow::Source | Flow::None => false,
        })
    }

    /// Why a unit cannot be done: the bytes that it takes were delivered, and are kept no more.
    pub(super) fn lacks_bytes(&self, stages: &[usize], ready: &[Ready]) -> Option<(usize, Diagnostic)> {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking = |(&stage, ready): (&usize, &Ready)| {
            let Ready::Kind(_, settings) = ready else { return None };
            let source = gone.get(&ArtifactRef::deserialize(&settings["artifact"]).ok()?)?;
            Some((stage, &self.plan.stages[*source].name))
        };
        let (stage, source) = stages.iter().zip(ready).find_map(lacking)?;
        let message =
            format!("what `{source}` gave is not kept any more, and to collect it anew would deliver something else");
        let help = format!(
            "start a new run; or let `tl run --resume {} --from {source}` collect it anew, which replaces what this run has delivered",
            self.shared.run
        );
        Some((stage, Diagnostic::failure(codes::TL0639, message).help(help)))
    }

    /// An artifact of an earlier session, if its bytes are what they were: the power may have failed since.
    fn kept_spool(&self, artifact: &Json, stopped: &dyn Fn() -> bool) -> Option<Spool> {
        let path = self.folder.join(artifact["file"].as_str()?);
        let digest = digest_of(&path, stopped).ok()??;
        (artifact["digest"] == digest.to_string() && artifact["size"] == digest.size).then(|| Spool::kept(path, digest))
    }

    /// The files in the work folder that a later session may have a use for.
    pub(super) fn kept_files(&self) -> HashSet<String> {
        if self.journal.is_none() {
            return HashSet::new();
        }
        let spools = self.spools.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = spools.values().filter(|spool| spool.digest().is_some());
        finished.filter_map(|spool| Some(spool.path().file_name()?.to_str()?.to_owned())).collect()
    }

    /// What a later session may count on, from what a stage did.
    pub(super) fn effect(&self, done: &Done) -> Option<Effect> {
        let name = self.plan.stages[done.stage].name.clone();
        let key = self.keys().get(&(self.plan.stages[done.stage].unit, done.instance))?.clone();
        let outputs = Json::Object(done.outputs.clone());
        let mut shown = outputs.clone();
        self.shared.masker.mask_json(&mut shown);
        // What holds a secret is not kept, and so is done again.
        if shown != outputs {
            return None;
        }
        let artifact = self.spool_of(done.stage, done.instance).and_then(|spool| {
            let (file, digest) = (spool.path().file_name()?.to_str()?.to_owned(), spool.digest()?);
            Some(json!({ "file": file, "digest": digest.to_string(), "size": digest.size }))
        });
        Some(Effect { stage: name, instance: done.instance, key, outputs, artifact, warned: done.warned })
    }
}

/// What the journal says that an artifact was.
fn digest_in(artifact: &Json) -> Option<Digest> {
    Some(Digest { sha256: parse_sha256(artifact["digest"].as_str()?)?, size: artifact["size"].as_u64()? })
}

/// Which secrets a stage uses. Their values are no part of a key; that it uses others is another setting.
fn names_of_secrets(stage: &Stage) -> BTreeSet<String> {
    let with = Json::Object(stage.with.clone());
    let raw = stage.env.values().chain([&with]).flat_map(expressions_in).collect::<Vec<_>>();
    let paths = raw.iter().flat_map(Expression::paths);
    paths.filter(|path| path.first().is_some_and(|root| root == "secrets")).map(|path| path.join(".")).collect()
}

/// The digests of the files that settings name, such as those of recipients.
fn digests_of_files(settings: &Json, schema: &Json) -> Vec<Json> {
    let digest = |path: &PathBuf| {
        let digest = digest_of(path, &|| false).ok().flatten();
        digest.map_or(Json::Null, |digest| digest.to_string().into())
    };
    paths_in(settings, schema).iter().map(digest).collect()
}

/// What a file holds; nothing where `stopped` says so first.
fn digest_of(path: &Path, stopped: &dyn Fn() -> bool) -> io::Result<Option<Digest>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("no file"));
    }
    Digest::of(&mut file, stopped)
}

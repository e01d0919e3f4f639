//! Recall: a unit that an earlier session finished is not run again if its key is the same and its effects still hold.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Value as Json, json};

use super::chain::Ready;
use super::work::PipelineWork;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::engine::Attempt;
use crate::graph::outcome::{Done, Ended, OwnEnd};
use crate::open::{secrets_in, unwritten};
use crate::pipeline::{Stage, paths_in};
use crate::stages::artifact::{ArtifactRef, Spool};
use crate::stages::{self, Flow};
use crate::state::Effect;
use crate::value::{Cancel, Digest, parse_sha256, sha256};

impl PipelineWork {
    /// The key of a unit: a digest of everything it depends on. That is its settings without secrets, the contents of files
    /// they name, its stores, and the artifacts it takes. `None` for units that run in every session.
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
        // A placeholder differs in each process, and a secret may be rotated: neither may repeat a delivery. The mask of both
        // is the same, and it is part of the format of keys.
        self.shared.masker.mask_json(&mut all);
        Some(sha256(all.to_string()))
    }

    /// The results of an earlier session for a unit, if they have the same key, still hold, and none of its needs ran again.
    /// Fails, with the stage, if that cannot be checked now: a stage that finished is not repeated because its store is
    /// unreachable or the run is cancelled.
    pub(super) fn recall(
        &self,
        attempt: &Attempt,
        key: &str,
    ) -> std::result::Result<Option<Vec<Ended>>, (usize, Diagnostic)> {
        let stages = &self.plan.units[attempt.unit].stages;
        let mut needs = stages.iter().flat_map(|&stage| &self.plan.stages[stage].needs);
        let is_redone = {
            let memory = self.memory();
            needs.any(|need| memory.redone.contains(need))
        };
        if is_redone {
            return Ok(None);
        }
        let instance = attempt.instance.as_ref().map(|instance| instance.number);
        let effects = stages.iter().map(|&stage| self.prior.effect(stage, instance)).collect::<Option<Vec<&Effect>>>();
        let Some(effects) = effects else { return Ok(None) };
        for (&stage, effect) in stages.iter().zip(&effects) {
            if effect.key != key || !self.is_there(stage, attempt, effect).map_err(|error| (stage, error))? {
                return Ok(None);
            }
        }
        let ended = |(&stage, effect): (&usize, &Effect)| {
            let outputs = effect.outputs.as_object().cloned().unwrap_or_default();
            Ended { stage, end: OwnEnd::Recalled { outputs, warned: effect.warned } }
        };
        Ok(Some(stages.iter().zip(effects).map(ended).collect()))
    }

    /// Whether an earlier session finished a stage.
    pub(super) fn was_done(&self, stage: usize, attempt: &Attempt) -> bool {
        self.prior.effect(stage, attempt.instance.as_ref().map(|instance| instance.number)).is_some()
    }

    /// Forgets earlier sessions' results for this unit and the stages that need it, durably and before it starts: a session that
    /// is killed in between must not leave results that a later one would trust.
    pub(super) fn invalidate(&self, attempt: &Attempt) -> Result<()> {
        let stages = &self.plan.units[attempt.unit].stages;
        // Stages that take an artifact have its digest in their key. They run again only if it changed.
        let gives_artifact =
            stages.last().is_some_and(|&stage| matches!(self.flow(stage), Flow::Source | Flow::Filter));
        {
            let mut memory = self.memory();
            memory.lost_artifacts.retain(|_, source| !stages.contains(source));
            if !gives_artifact {
                memory.redone.extend(stages);
            }
        }
        let instance = attempt.instance.as_ref().map(|instance| instance.number);
        let own = stages.iter().filter_map(|&stage| self.prior.effect(stage, instance));
        let waiting = stages.iter().filter(|_| !gives_artifact).flat_map(|&stage| self.prior.of_dependants(stage));
        let forgotten: Vec<_> = own.chain(waiting).map(|effect| (effect.stage.clone(), effect.instance)).collect();
        match &self.journal {
            Some(journal) if !forgotten.is_empty() && attempt.number == 1 => {
                journal.forget(forgotten).map_err(|error| unwritten(&error))
            }
            _ => Ok(()),
        }
    }

    /// Whether the effects of a stage still hold: its artifact in the work folder, and what its kind checks. If we lack
    /// permission to check, run again.
    fn is_there(&self, stage: usize, attempt: &Attempt, effect: &Effect) -> Result<bool> {
        let instance = effect.instance;
        if let Some(artifact) = &effect.artifact {
            let spool = self.kept_spool(artifact, &attempt.cancel);
            attempt.cancel.check()?;
            match spool {
                Some(spool) => self.keep_spool(stage, instance, spool),
                // Do not collect a delivered artifact again: its source may have changed, and another object would take its
                // name. Stages that need its bytes fail in `missing_artifact`.
                None if self.was_delivered(stage) => {
                    let Some(digest) = digest_in(artifact) else { return Ok(false) };
                    self.keep_spool(stage, instance, Spool::kept(self.folder.join("gone"), digest));
                    let lost = ArtifactRef::of(&self.key(stage, instance));
                    self.memory().lost_artifacts.insert(lost, stage);
                }
                None => return Ok(false),
            }
        }
        let kind = self.plan.stages[stage].stage.uses.as_deref().and_then(stages::find);
        let key = self.key(stage, instance);
        let holds = kind.map_or(Ok(true), |kind| (kind.take_up)(&effect.outputs, &key, &self.shared, &attempt.cancel));
        attempt.cancel.check()?;
        match holds {
            Err(error) if error.transient => Err(error),
            holds => Ok(holds.is_ok_and(|holds| holds)),
        }
    }

    /// Whether an earlier session delivered the artifact of a stage, also through filters.
    fn was_delivered(&self, stage: usize) -> bool {
        self.prior.dependants(stage).any(|taker| match self.flow(taker) {
            Flow::Sink => self.prior.has_effect(taker),
            Flow::Filter => self.was_delivered(taker),
            Flow::Source | Flow::None => false,
        })
    }

    /// The error of a unit that needs an artifact which was delivered and whose bytes are gone.
    pub(super) fn missing_artifact(&self, stages: &[usize], ready: &[Ready]) -> Option<(usize, Diagnostic)> {
        let memory = self.memory();
        let lacking = |(&stage, ready): (&usize, &Ready)| {
            let Ready::Kind(_, settings) = ready else { return None };
            let source = memory.lost_artifacts.get(&ArtifactRef::deserialize(&settings["artifact"]).ok()?)?;
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

    /// An artifact of an earlier session, if its bytes are unchanged. They may not be, after a power failure.
    fn kept_spool(&self, artifact: &Json, cancel: &Cancel) -> Option<Spool> {
        let path = self.folder.join(artifact["file"].as_str()?);
        let digest = digest_of(&path, cancel).ok()??;
        (artifact["digest"] == digest.to_string() && artifact["size"] == digest.size).then(|| Spool::kept(path, digest))
    }

    /// The files in the work folder that a later session may need.
    pub(super) fn kept_files(&self) -> HashSet<String> {
        if self.journal.is_none() {
            return HashSet::new();
        }
        let memory = self.memory();
        let finished = memory.spools.values().filter(|spool| spool.digest().is_some());
        finished.filter_map(|spool| Some(spool.path().file_name()?.to_str()?.to_owned())).collect()
    }

    /// The effect of a finished stage, for later sessions.
    pub(super) fn effect(&self, done: &Done) -> Option<Effect> {
        let name = self.plan.stages[done.stage].name.clone();
        let key = self.memory().keys.get(&(self.plan.stages[done.stage].unit, done.instance))?.clone();
        let outputs = Json::Object(done.outputs.clone());
        let mut shown = outputs.clone();
        self.shared.masker.mask_json(&mut shown);
        // Outputs that hold a secret are not kept, so the stage runs again.
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

/// The digest of an artifact, from the journal.
fn digest_in(artifact: &Json) -> Option<Digest> {
    Some(Digest { sha256: parse_sha256(artifact["digest"].as_str()?)?, size: artifact["size"].as_u64()? })
}

/// The secrets that a stage uses, as expressions name them. Names are part of a key, values are not.
fn names_of_secrets(stage: &Stage) -> BTreeSet<String> {
    let names = secrets_in(stage.env.values().chain(stage.with.values()));
    names.into_iter().map(|name| format!("secrets.{name}")).collect()
}

/// The digests of files that settings name, such as files of recipients.
fn digests_of_files(settings: &Json, schema: &Json) -> Vec<Json> {
    let digest = |path: &PathBuf| {
        let digest = digest_of(path, &Cancel::default()).ok().flatten();
        digest.map_or(Json::Null, |digest| digest.to_string().into())
    };
    paths_in(settings, schema).iter().map(digest).collect()
}

/// The digest of a file; `None` if cancelled first.
fn digest_of(path: &Path, cancel: &Cancel) -> io::Result<Option<Digest>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("no file"));
    }
    Digest::of(&mut file, &|| cancel.is_cancelled())
}

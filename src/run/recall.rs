//! Asks the disk, the journal and the kinds what [`recall`](crate::graph::recall) needs to know. Keys flow in and out; no
//! decision is made here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Value as Json, json};

use super::chain::Resolved;
use super::work::PipelineWork;
use crate::diagnostic::{Code, Diagnostic, Result, codes};
use crate::engine::{Attempt, Results};
use crate::graph::outcome::{Done, Ended, OwnEnd};
use crate::graph::recall::{Decision, Prior, PriorEffect};
use crate::graph::{Job, Plan};
use crate::open::{secrets_in, unwritten};
use crate::pipeline::{Stage, paths_in};
use crate::stages::artifact::{ArtifactRef, Spool};
use crate::stages::{ARTIFACT, ObjectRef, StageKind};
use crate::state::{Effect, PriorRun};
use crate::value::{Cancel, Digest, parse_sha256, sha256};

/// The effects that the journal has of earlier sessions. Stages that the file no longer has are not among them.
pub(super) fn prior(plan: &Arc<Plan>, prior: Option<&PriorRun>) -> Prior<Effect> {
    let numbers: HashMap<&str, usize> =
        plan.stages.iter().enumerate().map(|(n, stage)| (stage.name.as_str(), n)).collect();
    let effects = prior.into_iter().flat_map(|prior| &prior.effects).filter_map(|effect| {
        let stage = *numbers.get(effect.stage.as_str())?;
        Some(PriorEffect { stage, instance: effect.instance, key: effect.key.clone(), payload: effect.clone() })
    });
    Prior::new(Arc::clone(plan), effects)
}

/// What a stage says of an object that is lost or damaged.
const DISPROVED: [Code; 3] = [codes::TL0640, codes::TL0641, codes::TL0642];

/// The URI of an object that a stage names.
pub(super) fn uri_of(object: &Json) -> Option<String> {
    Some(ObjectRef::deserialize(object).ok()?.uri)
}

impl PipelineWork {
    /// The key of a unit: a digest of everything it depends on. That is its settings without secrets, the contents of files
    /// they name, its stores, and the artifacts it takes. `None` for units that run in every session.
    pub(super) fn unit_key(&self, attempt: &Attempt, resolved: &[Resolved]) -> Option<String> {
        let stages = &self.plan.units[attempt.unit].stages;
        let mut all = vec![json!({ "format": 1 })];
        for (&stage, resolved) in stages.iter().zip(resolved) {
            let planned = &self.plan.stages[stage];
            if planned.is_finally {
                return None;
            }
            let (settings, kind) = match resolved {
                Resolved::Kind(kind, with) => (with.clone(), Some(*kind)),
                Resolved::Program(command) => (command.described(), None),
            };
            let store = kind.and_then(|kind| kind.store(&settings));
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

    /// What a unit does: see [`recall`](crate::graph::recall). Asks the kinds, so the memory is not locked meanwhile.
    pub(super) fn decide(&self, attempt: &Attempt, key: Option<&str>) -> Decision<'_, Effect, Diagnostic> {
        let job = attempt.job();
        let may_recall = self.memory().session.may_recall(&self.plan, job);
        self.prior.decide(job, key, may_recall, |effect| self.still_holds(attempt, effect))
    }

    /// Makes the journal forget what a unit is about to do again, and marks the unit as running.
    pub(super) fn begin(&self, job: Job) -> Result<()> {
        let forgotten = self.prior.forgotten(&self.memory().session, job);
        if let Some(journal) = self.journal.as_ref().filter(|_| !forgotten.is_empty()) {
            let name = |(stage, instance): (usize, _)| (self.plan.stages[stage].name.clone(), instance);
            journal.forget(forgotten.into_iter().map(name).collect()).map_err(|error| unwritten(&error))?;
        }
        self.memory().session.begin(&self.plan, job);
        Ok(())
    }

    /// Whether the effects of a stage still hold: its artifact in the work folder, and what its kind checks. If we lack
    /// permission to check, run again.
    fn still_holds(&self, attempt: &Attempt, prior: &PriorEffect<Effect>) -> Result<bool> {
        let (stage, instance, effect) = (prior.stage, prior.instance, &prior.payload);
        if let Some(artifact) = &effect.artifact {
            let spool = self.kept_spool(artifact, &attempt.cancel);
            attempt.cancel.check()?;
            match spool {
                Some(spool) => self.keep_spool(stage, instance, spool),
                None if self.prior.was_delivered(stage) => {
                    let Some(digest) = digest_in(artifact) else { return Ok(false) };
                    self.keep_spool(stage, instance, Spool::kept(self.folder.join("gone"), digest));
                    self.memory().session.lose(stage, instance);
                }
                None => return Ok(false),
            }
        }
        let kind = self.plan.stages[stage].stage.kind();
        let key = self.key(stage, instance);
        let holds =
            kind.map_or(Ok(true), |kind| (kind.still_holds)(&effect.outputs, &key, &self.shared, &attempt.cancel));
        attempt.cancel.check()?;
        match holds {
            Err(error) if error.transient => Err(error),
            holds => Ok(holds.is_ok_and(|holds| holds)),
        }
    }

    /// Makes the journal forget the deliveries of objects that a stage has just found to be lost or damaged. A later session
    /// delivers them anew; it would otherwise find them delivered, and find them damaged, without end.
    pub(super) fn forget_disproved(&self, results: &Results, ended: &[Ended], objects: &[(usize, String)]) {
        let is_disproved = |stage: usize| {
            let failed = |one: &&Ended| matches!(&one.end, OwnEnd::Failed(error) if DISPROVED.contains(&error.code));
            ended.iter().filter(failed).any(|one| one.stage == stage)
        };
        let lost: Vec<&String> = objects.iter().filter(|(stage, _)| is_disproved(*stage)).map(|(_, uri)| uri).collect();
        if lost.is_empty() {
            return;
        }
        let mut forgotten = Vec::new();
        for (stage, planned) in self.plan.stages.iter().enumerate() {
            let Some(delivery) = planned.stage.kind().and_then(StageKind::delivery) else { continue };
            let Some(result) = results.get(stage) else { continue };
            let object = &result.outputs[delivery.object];
            let is_lost = |object: &Json| uri_of(object).is_some_and(|uri| lost.contains(&&uri));
            if planned.stage.strategy.is_none() {
                forgotten.extend(is_lost(object).then(|| (planned.name.clone(), None)));
            }
            let instances = object.as_array().into_iter().flatten().enumerate().filter(|(_, object)| is_lost(object));
            forgotten.extend(instances.map(|(number, _)| (planned.name.clone(), Some(number))));
        }
        if let Some(journal) = self.journal.as_ref().filter(|_| !forgotten.is_empty()) {
            // If this fails, the next session finds the object damaged again, and says so.
            let disproved = lost.iter().try_for_each(|uri| self.shared.deliveries.disproved(uri));
            let _unforgotten = disproved.map(|()| journal.forget(forgotten));
        }
    }

    /// The error of a unit that needs an artifact which was delivered and whose bytes are gone.
    pub(super) fn missing_artifact(&self, stages: &[usize], resolved: &[Resolved]) -> Option<(usize, Diagnostic)> {
        let memory = self.memory();
        let lacking = |(&stage, resolved): (&usize, &Resolved)| {
            let Resolved::Kind(_, settings) = resolved else { return None };
            let artifact = ArtifactRef::deserialize(&settings[ARTIFACT]).ok()?;
            let mut lost = memory.session.lost();
            let (source, _) =
                lost.find(|&(stage, instance)| ArtifactRef::of(&self.key(stage, instance)) == artifact)?;
            Some((stage, &self.plan.stages[source].name))
        };
        let (stage, source) = stages.iter().zip(resolved).find_map(lacking)?;
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

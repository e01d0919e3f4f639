//! Runs attempts at the stages of a pipeline, for the engine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value as Json, json};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tracing::Span;

use super::chain::{self, Link, Resolved};
use super::logs::RunLogs;
use super::recall::uri_of;
use crate::diagnostic::{Diagnostic, Kind, Result};
use crate::engine::{Attempt, BoxFuture, Expansion, Instance, Results, Work};
use crate::event::Outcome;
use crate::expression::{ExpressionError, Status, Template, Values, evaluate, resolve as resolve_text};
use crate::graph::outcome::{Done, Ended, OwnEnd};
use crate::graph::recall::{self, Decision, Prior, PriorEffect};
use crate::graph::{Plan, Planned};
use crate::open::{Contexts, Loaded, LogRecorder, base_of, expand, unresolved, unwritten};
use crate::pipeline::{Failure, OnWarning, Run, resolve, resolve_argument, scalar_text};
use crate::stages::artifact::{ArtifactRef, Spool, stream};
use crate::stages::{ARTIFACT, Command, Context, Flow, Record, Shared, StageNotice};
use crate::state::{Effect, Journal};

/// The stages of one run: fixed inputs, and one memory that changes.
pub(super) struct PipelineWork {
    pub(super) loaded: Loaded,
    pub(super) plan: Arc<Plan>,
    pub(super) contexts: Contexts,
    pub(super) shared: Arc<Shared>,
    pub(super) recorder: Arc<LogRecorder>,
    pub(super) folder: PathBuf,
    /// The journal for later sessions; none if it cannot be written.
    pub(super) journal: Option<Arc<Journal>>,
    /// The effects of earlier sessions.
    pub(super) prior: Prior<Effect>,
    /// The output of programs.
    pub(super) logs: Arc<RunLogs>,
    /// What the run learns while it runs. The only part that changes.
    pub(super) memory: Mutex<Memory>,
}

/// What one session learns about its stages while they run.
#[derive(Default)]
pub(super) struct Memory {
    /// What decides whether the effects of earlier sessions still count.
    pub(super) session: recall::Session,
    /// Stages that the selection left out.
    pub(super) left_out: BTreeSet<usize>,
    /// The key of each unit, or of an instance of it: see `unit_key`.
    pub(super) keys: HashMap<(usize, Option<usize>), String>,
    /// Artifacts in files of the work folder, by stage and instance.
    pub(super) spools: HashMap<(usize, Option<usize>), Spool>,
}

impl Work for PipelineWork {
    fn condition(&self, stage: usize, results: &Results, status: Status) -> Result<bool> {
        let planned = &self.plan.stages[stage];
        let Some(condition) = &planned.condition else { return Ok(true) };
        let scope = EvalScope { attempt: 1, results, before: None, instance: None };
        let answer = self.values(planned, &scope).and_then(|values| {
            evaluate(condition, &values.with_status(status))
                .map(|value| value == Json::Bool(true))
                .map_err(|error| self.unresolved(planned, "if", failure_of(error)))
        });
        self.unless_left_out(stage, answer, true)
    }

    fn attempt(self: Arc<Self>, attempt: Attempt) -> BoxFuture<Vec<Ended>> {
        Box::pin(async move {
            let span = Span::current();
            match spawn_blocking(move || span.in_scope(|| self.blocking_attempt(&attempt))).await {
                Ok(ended) => ended,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shut down, which happens only after the engine has ended.
                Err(_) => Vec::new(),
            }
        })
    }

    fn expand(&self, stage: usize, results: &Results) -> Result<Expansion> {
        let planned = &self.plan.stages[stage];
        let values = self.needed(planned, &EvalScope { attempt: 1, results, before: None, instance: None });
        let none = Expansion { instances: Vec::new(), skipped: Vec::new() };
        let expansion = expand(&self.loaded.document, planned, &values, &self.shared.masker);
        self.unless_left_out(stage, expansion, none)
    }

    fn commit(&self, done: Vec<Done>) -> BoxFuture<Result<()>> {
        let effects: Vec<Effect> = done.iter().filter_map(|done| self.effect(done)).collect();
        let Some(journal) = self.journal.as_ref().filter(|_| !effects.is_empty()) else {
            return Box::pin(std::future::ready(Ok(())));
        };
        let (tell, told) = oneshot::channel();
        journal.commit(effects, move |result| drop(tell.send(result)));
        Box::pin(async move {
            let result = told.await.unwrap_or_else(|_| Err("the journal ended".to_owned()));
            result.map_err(|error| unwritten(&error))
        })
    }

    fn note(&self, record: Record) -> Result<()> {
        self.recorder.note(record)
    }

    fn refused(&self) -> Option<Diagnostic> {
        self.recorder.refused()
    }
}

impl PipelineWork {
    fn blocking_attempt(&self, attempt: &Attempt) -> Vec<Ended> {
        let (stages, part) = (&self.plan.units[attempt.unit].stages, self.plan.part(attempt.unit));
        let mut resolved = Vec::new();
        for (place, &stage) in stages.iter().enumerate() {
            let scope = EvalScope {
                attempt: attempt.number,
                results: &attempt.results,
                before: place.checked_sub(1).map(|before| stages[before]),
                instance: attempt.instance.as_ref(),
            };
            match part.forgive(self.resolve(stage, &scope)) {
                Ok(Some(one)) => resolved.push(one),
                Ok(None) => return self.leave_out(stages),
                // No stage of the chain has started, so the whole chain ends here.
                Err(error) => return Self::none_began(stages, stage, &error),
            }
        }
        let key = self.unit_key(attempt, &resolved);
        let mut is_begun = false;
        match self.decide(attempt, key.as_deref()) {
            Decision::Run => is_begun = true,
            Decision::ProveAgain => {}
            Decision::Recall(effects) => return effects.into_iter().map(recalled).collect(),
            Decision::LeaveOut => return self.leave_out(stages),
            Decision::Fail { stage, error } => return Self::none_began(stages, stage, &error),
        }
        if let Some((cause, error)) = self.missing_artifact(stages, &resolved) {
            return Self::none_began(stages, cause, &error);
        }
        let objects: Vec<(usize, String)> = stages
            .iter()
            .zip(&resolved)
            .filter_map(|(&stage, resolved)| Some((stage, proved_object(resolved)?)))
            .collect();
        let job = attempt.job();
        if is_begun && let Err(error) = self.begin(job) {
            return Self::none_began(stages, stages[0], &error);
        }
        if let Some(key) = key {
            self.memory().keys.insert((job.unit, job.instance), key);
        }
        let (mut links, mut streams, mut incoming) = (Vec::new(), Vec::new(), None);
        for (place, resolved) in resolved.into_iter().enumerate() {
            let stage = stages[place];
            let mut sources = self.spooled_needs(stage);
            sources.extend(incoming.take());
            let sink = if place + 1 < stages.len() {
                let (sink, source, hangup) = stream(self.plan.flow(stages[place + 1]) == Flow::Sink);
                incoming = Some((ArtifactRef::of(&self.plan.stages[stage].name), source));
                streams.push(hangup);
                Some(sink)
            } else {
                self.spool(stage, attempt)
            };
            let key = self.key(stage, job.instance);
            let (emit, logs) = (Arc::clone(&attempt.emit), Arc::clone(&self.logs));
            let log = logs.begin(&key, attempt.number);
            let planned = &self.plan.stages[stage];
            let context = Context {
                stage: planned.name.clone(),
                instance: attempt.instance.as_ref().map(|instance| instance.label.clone()),
                attempt: attempt.number,
                uses: Mutex::default(),
                shared: Arc::clone(&self.shared),
                base: base_of(&self.loaded, planned).to_owned(),
                work: self.folder.join(format!("{key}-{}-{}", self.session(), attempt.number)),
                message: if self.prior.was_done(stage, job.instance) {
                    format!("{key}.{}", self.session())
                } else {
                    key.clone()
                },
                key,
                cancel: attempt.cancel.clone(),
                meter: Arc::clone(&attempt.meters[place]),
                fails_on_warning: planned.on_warning == OnWarning::Fail,
                failure_gate: Arc::default(),
                emit: Box::new(move |notice| {
                    if let StageNotice::Line(stream, text) = &notice {
                        logs.line(&log, *stream, text);
                    }
                    emit(stage, notice);
                }),
                sources: Mutex::new(sources),
                sink: Mutex::new(sink),
            };
            links.push(Link { stage, resolved, context });
        }
        let ended = chain::run(links, &streams, &attempt.cancel);
        self.forget_disproved(&attempt.results, &ended, &objects);
        ended
    }

    /// Nothing of a chain began, since one stage of it could not. Cancelling a run cancels all of a chain.
    fn none_began(stages: &[usize], cause: usize, error: &Diagnostic) -> Vec<Ended> {
        let fails = |stage| stage == cause || error.kind == Kind::Cancelled;
        let end = |stage| if fails(stage) { OwnEnd::Failed(error.clone()) } else { OwnEnd::NotBegun };
        stages.iter().map(|&stage| Ended { stage, end: end(stage) }).collect()
    }

    /// Resolves every expression of a stage.
    fn resolve(&self, stage: usize, scope: &EvalScope<'_>) -> Result<Resolved> {
        let planned = &self.plan.stages[stage];
        let values = self.values(planned, scope)?;
        let Some(kind) = planned.stage.kind() else {
            return self.command(planned, &values).map(Resolved::Program);
        };
        let with = Json::Object(planned.stage.with.clone());
        let at = format!("{}/with", planned.pointer());
        let with = resolve(&with, (kind.schema)(), &values, &self.loaded.document, &at)
            .map_err(|failure| self.unresolved(planned, "with", failure))?;
        Ok(Resolved::Kind(kind, with))
    }

    fn command(&self, planned: &Planned, values: &Values) -> Result<Command> {
        let argv = match &planned.stage.run {
            Some(Run::Script(script)) => shell(planned.stage.shell.as_deref().unwrap_or("sh"), script),
            Some(Run::Argv(raw)) => {
                let argument = |(index, text): (usize, &String)| {
                    resolve_argument(text, values)
                        .map_err(|error| self.unresolved(planned, &format!("run/{index}"), failure_of(error)))
                };
                raw.iter().enumerate().map(argument).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        Ok(Command {
            argv,
            env: self.environment(planned, values)?,
            outputs: planned.stage.outputs.iter().map(|(name, kind)| (name.to_string(), *kind)).collect(),
            retry_exit_codes: planned.retry.exit_codes.clone(),
        })
    }

    fn environment(&self, planned: &Planned, values: &Values) -> Result<BTreeMap<String, String>> {
        let variable = |(name, raw): (&String, &Json)| {
            let text = match raw {
                Json::String(text) => Template::parse(text)
                    .and_then(|template| resolve_text(&template, values))
                    .map(scalar_text)
                    .map_err(|error| self.unresolved(planned, &format!("env/{name}"), failure_of(error)))?,
                other => other.to_string(),
            };
            Ok((name.clone(), text))
        };
        planned.stage.env.iter().map(variable).collect()
    }

    /// The values for the expressions of a stage.
    fn values(&self, planned: &Planned, scope: &EvalScope<'_>) -> Result<Values> {
        let values = self.needed(planned, scope);
        let values = match scope.instance {
            Some(instance) => values.with("matrix", Arc::clone(&instance.matrix)),
            None => values,
        };
        let env = self.environment(planned, &values)?;
        Ok(values.with("env", Json::Object(env.into_iter().map(|(name, text)| (name, text.into())).collect())))
    }

    /// The values that are the same for all instances of a stage.
    fn needed(&self, planned: &Planned, scope: &EvalScope<'_>) -> Values {
        let mut needs = Map::new();
        for &need in &planned.needs {
            let name = self.plan.stages[need].name.clone();
            let value = match scope.results.get(need) {
                Some(result) => json!({ "outputs": *result.outputs, "result": result.outcome.word() }),
                None if scope.before == Some(need) => {
                    json!({ "outputs": { ARTIFACT: ArtifactRef::of(&name) }, "result": Outcome::Success.word() })
                }
                None => continue,
            };
            needs.insert(name, value);
        }
        let values = self.contexts.values(scope.attempt).with("needs", Json::Object(needs));
        if !planned.is_finally {
            return values;
        }
        let mut all = Map::new();
        for (stage, other) in self.plan.stages.iter().enumerate() {
            let word = scope.results.get(stage).map_or("waiting", |result| result.outcome.word());
            all.insert(other.name.clone(), json!({ "result": word }));
        }
        values.with("stages", Json::Object(all))
    }

    /// Locks the memory. Hold the guard for one look or change only: the lock is not reentrant.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of this session.
    pub(super) fn session(&self) -> u32 {
        self.journal.as_ref().map_or(1, |journal| journal.session())
    }

    /// The name of a stage or instance, unique in the run.
    pub(super) fn key(&self, stage: usize, instance: Option<usize>) -> String {
        let name = &self.plan.stages[stage].name;
        instance.map_or_else(|| name.clone(), |number| format!("{name}.{number}"))
    }

    fn unresolved(&self, planned: &Planned, below: &str, failure: Failure) -> Diagnostic {
        unresolved(&self.loaded.document, &format!("{}/{below}", planned.pointer()), failure)
    }
}

/// The scope in which expressions of a stage are evaluated.
struct EvalScope<'a> {
    attempt: u32,
    results: &'a Results,
    /// The stage before it in the same chain, which has not ended but provides its data.
    before: Option<usize>,
    instance: Option<&'a Instance>,
}

/// The URI of the object that a stage is about to prove.
fn proved_object(resolved: &Resolved) -> Option<String> {
    let Resolved::Kind(kind, with) = resolved else { return None };
    uri_of(&with[kind.proved()?])
}

fn recalled(prior: &PriorEffect<Effect>) -> Ended {
    let Effect { outputs, warned, .. } = &prior.payload;
    let outputs = outputs.as_object().cloned().unwrap_or_default();
    Ended { stage: prior.stage, end: OwnEnd::Recalled { outputs, warned: *warned } }
}

fn failure_of(error: ExpressionError) -> Failure {
    Failure { pointer: String::new(), error }
}

/// A shell command line that stops at the first failing command.
fn shell(shell: &str, script: &str) -> Vec<String> {
    let flags: &[&str] = match Path::new(shell).file_name().and_then(|name| name.to_str()) {
        Some("bash" | "ksh" | "zsh") => &["-eo", "pipefail", "-c"],
        Some("sh" | "dash" | "ash") => &["-e", "-c"],
        _ => &["-c"],
    };
    let words = std::iter::once(shell).chain(flags.iter().copied()).chain([script]);
    words.map(str::to_owned).collect()
}

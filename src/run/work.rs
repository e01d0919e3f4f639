//! The engine's work: attempts at the stages of a pipeline.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value as Json, json};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tracing::Span;

use super::chain::{self, Link, Ready};
use super::contexts::Contexts;
use super::instances;
use super::logs::RunLogs;
use super::prepare::{Loaded, unresolved};
use super::recall::Past;
use super::recorder::LogRecorder;
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::engine::{Attempt, BoxFuture, Done, Ended, Expansion, Instance, Results, Work};
use crate::event::Outcome;
use crate::expression::{Mistake, Status, Template, Values, evaluate, resolve as resolve_text};
use crate::graph::{Part, Plan, Planned};
use crate::pipeline::{Failure, OnWarning, Run, resolve};
use crate::stages::artifact::{ArtifactRef, Spool, stream};
use crate::stages::{self, Command, Context, Flow, Record, Shared, Told};
use crate::state::{Effect, Journal};
use crate::value::Secret;

/// What the stages of one run work with.
pub(super) struct PipelineWork {
    pub(super) loaded: Loaded,
    pub(super) plan: Arc<Plan>,
    pub(super) contexts: Contexts,
    pub(super) shared: Arc<Shared>,
    pub(super) recorder: Arc<LogRecorder>,
    pub(super) folder: PathBuf,
    /// Where a later session of the run finds what this one did; none where the journal cannot be kept.
    pub(super) journal: Option<Arc<Journal>>,
    /// What earlier sessions did.
    pub(super) past: Past,
    /// Stages that were done in this session: what waits for them is done again.
    pub(super) fresh: Mutex<HashSet<usize>>,
    /// Artifacts that were delivered and are kept no more, and whose they are.
    pub(super) gone: Mutex<HashMap<ArtifactRef, usize>>,
    /// Stages that the selection left undone.
    pub(super) left_out: Mutex<BTreeSet<usize>>,
    /// What each unit, or instance of one, depends on.
    pub(super) keys: Mutex<HashMap<(usize, Option<usize>), String>>,
    /// What programs print.
    pub(super) logs: Arc<RunLogs>,
    /// Artifacts that lie in files, by stage.
    pub(super) spools: Mutex<HashMap<(usize, Option<usize>), Spool>>,
}

impl Work for PipelineWork {
    fn condition(&self, stage: usize, results: &Results, status: Status) -> Result<bool> {
        let planned = &self.plan.stages[stage];
        let Some(condition) = &planned.condition else { return Ok(true) };
        let moment = Moment { attempt: 1, results, before: None, instance: None };
        let answer = self.values(planned, &moment).and_then(|values| {
            evaluate(condition, &values.with_status(status))
                .map(|value| value == Json::Bool(true))
                .map_err(|mistake| self.unresolved(planned, "if", failure(mistake)))
        });
        self.unless_left_out(stage, answer, true)
    }

    fn attempt(self: Arc<Self>, attempt: Attempt) -> BoxFuture<Vec<Ended>> {
        Box::pin(async move {
            let span = Span::current();
            match spawn_blocking(move || span.in_scope(|| self.blocking_attempt(&attempt))).await {
                Ok(ended) => ended,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime goes only after the engine has ended.
                Err(_) => Vec::new(),
            }
        })
    }

    fn expand(&self, stage: usize, results: &Results) -> Result<Expansion> {
        let planned = &self.plan.stages[stage];
        let values = self.needed(planned, &Moment { attempt: 1, results, before: None, instance: None });
        let none = Expansion { instances: Vec::new(), skipped: Vec::new() };
        self.unless_left_out(stage, instances::expand(&self.loaded.document, planned, &values), none)
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
        let stages = &self.plan.units[attempt.unit].stages;
        let part = self.part(attempt.unit);
        let mut ready = Vec::new();
        for (place, &stage) in stages.iter().enumerate() {
            let moment = Moment {
                attempt: attempt.number,
                results: &attempt.results,
                before: place.checked_sub(1).map(|before| stages[before]),
                instance: attempt.instance.as_ref(),
            };
            match self.ready(stage, &moment) {
                Ok(one) => ready.push(one),
                Err(_) if part == Part::LeftOut => return self.leave_out(stages),
                // Nothing has begun yet, so a chain that cannot begin ends as a whole.
                Err(error) => return self.none_began(stages, stage, &error),
            }
        }
        if let Some(key) = self.unit_key(attempt, &ready) {
            let recalled = if part == Part::Asked { Ok(None) } else { self.recall(attempt, &key) };
            match recalled {
                Ok(Some(ended)) => return ended,
                Ok(None) => {}
                Err(_) if part == Part::LeftOut => return self.leave_out(stages),
                Err((culprit, error)) => return self.none_began(stages, culprit, &error),
            }
            let instance = attempt.instance.as_ref().map(|instance| instance.number);
            self.keys().insert((attempt.unit, instance), key);
        }
        if part == Part::LeftOut {
            return self.leave_out(stages);
        }
        if let Some((culprit, error)) = self.lacks_bytes(stages, &ready) {
            return self.none_began(stages, culprit, &error);
        }
        if let Err(error) = self.begin_anew(attempt) {
            return self.none_began(stages, stages[0], &error);
        }
        let (mut links, mut streams, mut incoming) = (Vec::new(), Vec::new(), None);
        for (place, ready) in ready.into_iter().enumerate() {
            let stage = stages[place];
            let mut sources = self.spooled_needs(stage);
            sources.extend(incoming.take());
            let sink = if place + 1 < stages.len() {
                let (sink, source, broken) = stream(self.flow(stages[place + 1]) == Flow::Sink);
                incoming = Some((ArtifactRef::of(&self.plan.stages[stage].name), source));
                streams.push(broken);
                Some(sink)
            } else {
                self.spool(stage, attempt)
            };
            let key = self.key(stage, attempt.instance.as_ref().map(|instance| instance.number));
            let (tell, logs) = (Arc::clone(&attempt.tell), Arc::clone(&self.logs));
            let log = logs.begin(&key, attempt.number);
            let planned = &self.plan.stages[stage];
            let context = Context {
                stage: planned.name.clone(),
                instance: attempt.instance.as_ref().map(|instance| instance.label.clone()),
                attempt: attempt.number,
                shared: Arc::clone(&self.shared),
                base: self.loaded.document.folder_of(&format!("{}/with/sources", pointer(planned))).to_owned(),
                work: self.folder.join(format!("{key}-{}-{}", self.session(), attempt.number)),
                message: if self.was_done(stage, attempt) { format!("{key}.{}", self.session()) } else { key.clone() },
                key,
                cancel: attempt.cancel.clone(),
                meter: Arc::clone(&attempt.meters[place]),
                fails_on_warning: planned.on_warning == OnWarning::Fail,
                doom: Arc::default(),
                tell: Box::new(move |told| {
                    if let Told::Line(stream, text) = &told {
                        logs.line(&log, *stream, text);
                    }
                    tell(stage, told);
                }),
                sources: Mutex::new(sources),
                sink: Mutex::new(sink),
            };
            links.push(Link { stage, ready, context });
        }
        chain::run(links, &streams, &attempt.cancel)
    }

    fn none_began(&self, stages: &[usize], culprit: usize, error: &Diagnostic) -> Vec<Ended> {
        let name = &self.plan.stages[culprit].name;
        let victim = |stage: usize| {
            let outcome = if stage < culprit { Outcome::Cancelled } else { Outcome::Skipped };
            // Who stops a run stops all of a chain.
            let is_stopped = error.kind == Kind::Cancelled;
            (stage != culprit && !is_stopped).then(|| (outcome, format!("`{name}` failed")))
        };
        stages.iter().map(|&stage| Ended { victim: victim(stage), ..Ended::new(stage, Err(error.clone())) }).collect()
    }

    /// A stage with every expression resolved.
    fn ready(&self, stage: usize, moment: &Moment<'_>) -> Result<Ready> {
        let planned = &self.plan.stages[stage];
        let values = self.values(planned, moment)?;
        let Some(kind) = planned.stage.uses.as_deref().and_then(stages::find) else {
            return self.command(planned, &values).map(Ready::Program);
        };
        let with = Json::Object(planned.stage.with.clone());
        let at = format!("{}/with", pointer(planned));
        let with = resolve(&with, (kind.schema)(), &values, &self.loaded.document, &at)
            .map_err(|failure| self.unresolved(planned, "with", failure))?;
        Ok(Ready::Kind(kind, with))
    }

    fn command(&self, planned: &Planned, values: &Values) -> Result<Command> {
        let argv = match &planned.stage.run {
            Some(Run::Script(script)) => shell(planned.stage.shell.as_deref().unwrap_or("sh"), script),
            Some(Run::Argv(raw)) => {
                let argument = |(index, text): (usize, &String)| {
                    argument(text, values)
                        .map_err(|mistake| self.unresolved(planned, &format!("run/{index}"), failure(mistake)))
                };
                raw.iter().enumerate().map(argument).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        Ok(Command {
            argv,
            env: self.environment(planned, values)?.into_iter().map(|(name, text)| (name, Secret::new(text))).collect(),
            outputs: planned.stage.outputs.iter().map(|(name, kind)| (name.to_string(), *kind)).collect(),
            retry_exit_codes: planned.retry.exit_codes.clone(),
        })
    }

    fn environment(&self, planned: &Planned, values: &Values) -> Result<BTreeMap<String, String>> {
        let variable = |(name, raw): (&String, &Json)| {
            let text = match raw {
                Json::String(text) => Template::parse(text)
                    .and_then(|template| resolve_text(&template, values))
                    .map(spelled)
                    .map_err(|mistake| self.unresolved(planned, &format!("env/{name}"), failure(mistake)))?,
                other => other.to_string(),
            };
            Ok((name.clone(), text))
        };
        planned.stage.env.iter().map(variable).collect()
    }

    /// The values that a stage's expressions see.
    fn values(&self, planned: &Planned, moment: &Moment<'_>) -> Result<Values> {
        let values = self.needed(planned, moment);
        let values = match moment.instance {
            Some(instance) => values.with("matrix", Arc::clone(&instance.matrix)),
            None => values,
        };
        let env = self.environment(planned, &values)?;
        Ok(values.with("env", Json::Object(env.into_iter().map(|(name, text)| (name, text.into())).collect())))
    }

    /// The values that all instances of a stage see.
    fn needed(&self, planned: &Planned, moment: &Moment<'_>) -> Values {
        let mut needs = Map::new();
        for &need in &planned.needs {
            let name = self.plan.stages[need].name.clone();
            let value = match moment.results.get(need) {
                Some(result) => json!({ "outputs": *result.outputs, "result": result.outcome.word() }),
                None if moment.before == Some(need) => {
                    json!({ "outputs": { "artifact": ArtifactRef::of(&name) }, "result": Outcome::Success.word() })
                }
                None => continue,
            };
            needs.insert(name, value);
        }
        let values = self.contexts.values(moment.attempt).with("needs", Json::Object(needs));
        if !planned.is_finally {
            return values;
        }
        let mut all = Map::new();
        for (stage, other) in self.plan.stages.iter().enumerate() {
            let word = moment.results.get(stage).map_or("waiting", |result| result.outcome.word());
            all.insert(other.name.clone(), json!({ "result": word }));
        }
        values.with("stages", Json::Object(all))
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, HashMap<(usize, Option<usize>), String>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which session of the run this is.
    pub(super) fn session(&self) -> u32 {
        self.journal.as_ref().map_or(1, |journal| journal.session())
    }

    /// Names a stage, or an instance of it, among all of the run.
    pub(super) fn key(&self, stage: usize, instance: Option<usize>) -> String {
        let name = &self.plan.stages[stage].name;
        instance.map_or_else(|| name.clone(), |number| format!("{name}.{number}"))
    }

    pub(super) fn flow(&self, stage: usize) -> Flow {
        self.plan.stages[stage].stage.uses.as_deref().and_then(stages::find).map_or(Flow::None, |kind| kind.flow)
    }

    fn unresolved(&self, planned: &Planned, below: &str, failure: Failure) -> Diagnostic {
        unresolved(&self.loaded.document, &format!("{}/{below}", pointer(planned)), failure)
    }
}

/// What was done cannot be put on the disk.
pub(super) fn unwritten(error: &str) -> Diagnostic {
    let mut found = Diagnostic::failure(codes::TL0728, "the journal of the run could not be written");
    found.causes.push(error.to_owned());
    found.help("make room in the state folder; then `tl run --resume` goes on where this run stopped")
}

/// When an expression is evaluated.
struct Moment<'a> {
    attempt: u32,
    results: &'a Results,
    /// The stage of the same chain that gives it its data.
    before: Option<usize>,
    instance: Option<&'a Instance>,
}

/// Where a stage stands in its file.
pub(super) fn pointer(planned: &Planned) -> String {
    let section = if planned.is_finally { "finally" } else { "stages" };
    format!("/{section}/{}", planned.name)
}

fn failure(mistake: Mistake) -> Failure {
    Failure { pointer: String::new(), mistake }
}

/// A scalar as an argument or a variable spells it.
fn spelled(value: Json) -> String {
    match value {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// One argument stays one argument whatever it holds; it must not become an option.
fn argument(text: &str, values: &Values) -> std::result::Result<String, Mistake> {
    let template = Template::parse(text)?;
    let value = spelled(resolve_text(&template, values)?);
    let place = template.expressions().next().map_or((0, 1), crate::expression::Expression::place);
    if value.starts_with('-') && !text.starts_with('-') {
        let message =
            "this expression gives an argument that begins with `-`, which the program would take for an option";
        return Err(Mistake::new(codes::TL0653, place, message));
    }
    if value.contains('\0') {
        return Err(Mistake::new(codes::TL0653, place, "this expression gives an argument with a NUL in it"));
    }
    Ok(value)
}

/// A shell that ends at the first command that fails.
fn shell(shell: &str, script: &str) -> Vec<String> {
    let flags: &[&str] = match Path::new(shell).file_name().and_then(|name| name.to_str()) {
        Some("bash") => &["-eo", "pipefail", "-c"],
        Some("sh" | "dash" | "ash" | "ksh" | "zsh") => &["-e", "-c"],
        _ => &["-c"],
    };
    let words = std::iter::once(shell).chain(flags.iter().copied()).chain([script]);
    words.map(str::to_owned).collect()
}

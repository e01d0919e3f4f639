//! One attempt at a unit. Its stages run at the same time, each on its own thread, and stream data from one to the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use serde_json::{Map, Value as Json};
use tracing::{Span, debug, info, info_span, warn};

use crate::diagnostic::{Diagnostic, Result, codes};
use crate::engine::Ended;
use crate::event::Outcome;
use crate::stages::artifact::Broken;
use crate::stages::{self, Command, Context, StageKind};
use crate::value::Cancel;

/// A stage with every expression resolved.
pub(super) enum Ready {
    /// A kind with its settings.
    Kind(&'static StageKind, Json),
    /// A program.
    Program(Command),
}

/// A stage with its context.
pub(super) struct Link {
    pub(super) stage: usize,
    pub(super) ready: Ready,
    pub(super) context: Context,
}

/// Runs the stages to their ends. `streams` are the connections between neighbours.
pub(super) fn run(links: Vec<Link>, streams: &[Arc<Broken>], cancel: &Cancel) -> Vec<Ended> {
    let names: Vec<(usize, String)> = links.iter().map(|link| (link.stage, link.context.stage.clone())).collect();
    let results: Vec<Result<Map<String, Json>>> = if links.len() == 1 {
        links.into_iter().map(one).collect()
    } else {
        let span = Span::current();
        thread::scope(|scope| {
            // A link that gets no thread is dropped with its ends of the streams, so its neighbours end too.
            let start = |link| {
                let span = span.clone();
                let thread = thread::Builder::new().spawn_scoped(scope, move || span.in_scope(|| one(link)));
                thread.map_err(|error| no_thread(&error))
            };
            let threads: Vec<_> = links.into_iter().map(start).collect();
            threads.into_iter().map(|thread| thread?.join().unwrap_or_else(|_| Err(panicked()))).collect()
        })
    };
    let stopped = cancel.is_cancelled();
    let victims: Vec<Option<(Outcome, String)>> = results
        .iter()
        .enumerate()
        .map(|(place, result)| if stopped || result.is_ok() { None } else { victim(place, streams, &names) })
        .collect();
    let culprit = (0..names.len()).find(|&place| results[place].is_err() && victims[place].is_none());
    names
        .iter()
        .zip(results)
        .zip(victims)
        .map(|(((stage, _), result), victim)| match (result, culprit) {
            // A chain commits together: what a stage gave to one that then failed went nowhere.
            (Ok(_), Some(culprit)) => {
                let reason = format!("`{}` failed", names[culprit].1);
                Ended { victim: Some((Outcome::Cancelled, reason)), ..Ended::new(*stage, Err(lost())) }
            }
            (result, _) => Ended { victim, ..Ended::new(*stage, result) },
        })
        .collect()
}

fn no_thread(error: &std::io::Error) -> Diagnostic {
    Diagnostic::failure(codes::TL0608, "the system gives no thread for this stage")
        .cause(error)
        .help("raise the limit of processes (`ulimit -u`), or run fewer things at the same time")
        .transient(true)
}

fn lost() -> Diagnostic {
    Diagnostic::failure(codes::TL0604, "what this stage gave was not kept")
}

/// Whether a stage failed only because a neighbour did.
fn victim(place: usize, streams: &[Arc<Broken>], names: &[(usize, String)]) -> Option<(Outcome, String)> {
    if streams.get(place).is_some_and(|after| after.by_reader.load(Ordering::SeqCst)) {
        return Some((Outcome::Cancelled, format!("`{}` failed", names[place + 1].1)));
    }
    let before = place.checked_sub(1)?;
    let broken = streams[before].by_writer.load(Ordering::SeqCst) && !streams[before].by_reader.load(Ordering::SeqCst);
    broken.then(|| (Outcome::Skipped, format!("`{}` failed", names[before].1)))
}

fn one(link: Link) -> Result<Map<String, Json>> {
    let Context { stage, instance, attempt, .. } = &link.context;
    let span = info_span!("stage", %stage, instance = instance.as_deref(), attempt);
    span.in_scope(|| {
        let begun = Instant::now();
        debug!("begun");
        let outputs = caught(link);
        let millis = begun.elapsed().as_millis();
        match &outputs {
            Ok(_) => info!(millis, "done"),
            Err(error) => warn!(millis, error = error.one_line(), "failed"),
        }
        outputs
    })
}

fn caught(link: Link) -> Result<Map<String, Json>> {
    // Dropping the stage drops its ends of the streams, which ends its neighbours.
    let outputs = catch_unwind(AssertUnwindSafe(move || {
        let Link { ready, context, .. } = link;
        let outputs = match ready {
            Ready::Kind(kind, with) => (kind.run)(with, &context),
            Ready::Program(command) => command.run(&context),
        };
        // That it could not finish is no failure of its own.
        if context.doom.has_refused.load(Ordering::SeqCst) { Err(stages::fails_for_warning()) } else { outputs }
    }));
    match outputs.unwrap_or_else(|_| Err(panicked()))? {
        Json::Object(outputs) => Ok(outputs),
        _ => Ok(Map::new()),
    }
}

fn panicked() -> Diagnostic {
    Diagnostic::failure(codes::TL0903, "tl made a mistake in this stage (panic); the rest of the run goes on")
        .help("please report this with the output above")
}

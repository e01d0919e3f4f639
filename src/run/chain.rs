//! One attempt at a unit. Its stages run at the same time, each on its own thread, and stream data from one to the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use serde_json::{Map, Value as Json};
use tracing::{Span, debug, info, info_span, warn};

use crate::diagnostic::{Diagnostic, Result, codes};
use crate::graph::outcome::{Ended, OwnEnd};
use crate::stages::artifact::StreamHangup;
use crate::stages::{self, Command, Context, StageError, StageKind};
use crate::value::Cancel;

/// A stage with every expression resolved.
pub(super) enum Resolved {
    /// A kind with its settings.
    Kind(&'static StageKind, Json),
    /// A program.
    Program(Command),
}

/// A stage with its context.
pub(super) struct Link {
    pub(super) stage: usize,
    pub(super) resolved: Resolved,
    pub(super) context: Context,
}

/// Runs the stages to their ends. `streams` are the connections between neighbours.
pub(super) fn run(links: Vec<Link>, streams: &[Arc<StreamHangup>], cancel: &Cancel) -> Vec<Ended> {
    let stages: Vec<usize> = links.iter().map(|link| link.stage).collect();
    let results: Vec<Result<Map<String, Json>, StageError>> = if links.len() == 1 {
        links.into_iter().map(one).collect()
    } else {
        let span = Span::current();
        thread::scope(|scope| {
            // A link that gets no thread is dropped with its ends of the streams, so its neighbours end too.
            let start = |link| {
                let span = span.clone();
                let thread = thread::Builder::new().spawn_scoped(scope, move || span.in_scope(|| one(link)));
                thread.map_err(|error| StageError::from(no_thread(&error)))
            };
            let threads: Vec<_> = links.into_iter().map(start).collect();
            threads.into_iter().map(|thread| thread?.join().unwrap_or_else(|_| Err(panicked().into()))).collect()
        })
    };
    // A neighbour that is cancelled breaks the stream as one that fails does: then each stage ends for the cancelling.
    let run_goes_on = !cancel.is_cancelled();
    let end = |(place, result)| match result {
        Ok(outputs) => OwnEnd::Done(outputs),
        Err(StageError::NothingToDo(why)) => OwnEnd::NothingToDo(why),
        Err(StageError::Failed(error)) if run_goes_on && has_lost_reader(place, streams) => OwnEnd::LostReader(error),
        Err(StageError::Failed(error)) if run_goes_on && has_lost_writer(place, streams) => OwnEnd::LostWriter(error),
        Err(StageError::Failed(error)) => OwnEnd::Failed(error),
    };
    let ends = results.into_iter().enumerate().map(end);
    stages.into_iter().zip(ends).map(|(stage, end)| Ended { stage, end }).collect()
}

fn no_thread(error: &std::io::Error) -> Diagnostic {
    Diagnostic::failure(codes::TL0608, "the system gives no thread for this stage")
        .cause(error)
        .help("raise the limit of processes (`ulimit -u`), or run fewer things at the same time")
        .transient(true)
}

fn has_lost_reader(place: usize, streams: &[Arc<StreamHangup>]) -> bool {
    streams.get(place).is_some_and(|after| after.by_reader.load(Ordering::SeqCst))
}

fn has_lost_writer(place: usize, streams: &[Arc<StreamHangup>]) -> bool {
    let before = place.checked_sub(1).map(|before| &streams[before]);
    before.is_some_and(|before| before.by_writer.load(Ordering::SeqCst) && !before.by_reader.load(Ordering::SeqCst))
}

fn one(link: Link) -> Result<Map<String, Json>, StageError> {
    let Context { stage, instance, attempt, .. } = &link.context;
    let span = info_span!("stage", %stage, instance = instance.as_deref(), attempt);
    span.in_scope(|| {
        let begun = Instant::now();
        debug!("begun");
        let outputs = caught(link);
        let millis = begun.elapsed().as_millis();
        match &outputs {
            Ok(_) => info!(millis, "done"),
            Err(StageError::Failed(error)) => warn!(millis, error = error.one_line(), "failed"),
            Err(StageError::NothingToDo(why)) => info!(millis, why, "nothing to do"),
        }
        outputs
    })
}

fn caught(link: Link) -> Result<Map<String, Json>, StageError> {
    // Dropping the stage drops its ends of the streams, which ends its neighbours.
    let outputs = catch_unwind(AssertUnwindSafe(move || {
        let Link { resolved, context, .. } = link;
        let outputs = match resolved {
            Resolved::Kind(kind, with) => (kind.run)(with, &context),
            Resolved::Program(command) => command.run(&context),
        };
        // That it could not finish is no failure of its own.
        if context.failure_gate.has_refused.load(Ordering::SeqCst) {
            Err(stages::fails_for_warning().into())
        } else {
            outputs
        }
    }));
    match outputs.unwrap_or_else(|_| Err(panicked().into()))? {
        Json::Object(outputs) => Ok(outputs),
        _ => Ok(Map::new()),
    }
}

fn panicked() -> Diagnostic {
    Diagnostic::failure(codes::TL0903, "tl made a mistake in this stage (panic); the rest of the run goes on")
        .help("please report this with the output above")
}

//! Carries events from a run to the reporter and the journal.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::diagnostic::codes;
use crate::event::{Event, What};
use crate::graph::{Part, Plan};
use crate::open::unwritten;
use crate::state::{Finish, Journal};
use crate::value::{Masker, utc};

/// Receives events in order.
pub(super) type Emit = Box<dyn FnMut(&Event) + Send>;

/// Adds time and run to events, masks their secrets, writes them to the journal and passes them on.
pub(super) struct EventSink {
    run: String,
    pub(super) masker: Masker,
    pub(super) journal: Option<Arc<Journal>>,
    /// The stages that are not selected. What an earlier session wrote of their end stays in the journal.
    left_out: HashSet<String>,
    emit: Emit,
}

impl EventSink {
    pub(super) fn new(run: String, plan: &Plan, emit: Emit) -> Self {
        let left_out = plan.stages.iter().filter(|stage| stage.part == Part::LeftOut).map(|stage| stage.name.clone());
        Self { run, masker: Masker::default(), journal: None, left_out: left_out.collect(), emit }
    }

    pub(super) fn emit(&mut self, mut what: What) {
        what.mask(&|text| self.masker.mask(text));
        let ts = utc(jiff::Timestamp::now());
        if let Some(journal) = &self.journal {
            match &what {
                What::StageEnded { stage, instance, reason, .. } if self.left_out.contains(stage) => {
                    journal.log_left_out(&ts, stage.clone(), instance.clone(), reason.clone());
                }
                // Its start would reset the row that an earlier session wrote.
                What::StageStarted { stage, .. }
                | What::StageProgress { stage, .. }
                | What::StageWarning { stage, .. }
                | What::StageRetrying { stage, .. }
                    if self.left_out.contains(stage) => {}
                _ => journal.log(&ts, what.clone()),
            }
        }
        (self.emit)(&Event { ts, run: self.run.clone(), what });
    }
}

pub(super) fn emit(sink: &Mutex<EventSink>, what: What) {
    sink.lock().unwrap_or_else(PoisonError::into_inner).emit(what);
}

/// Whether a later session can resume the run. Asked before the journal is closed.
pub(super) fn is_resumable(sink: &Mutex<EventSink>) -> bool {
    let sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    sink.journal.as_ref().is_some_and(|journal| journal.is_resumable())
}

/// Writes the end of a run to its journal and closes that, before the event is emitted. Returns whether it was written: if not,
/// the journal still says that the run can be resumed.
pub(super) fn end_journal(sink: &Mutex<EventSink>, ended: &What) -> bool {
    let journal = sink.lock().unwrap_or_else(PoisonError::into_inner).journal.take();
    let written = journal.zip(Finish::of(ended)).map_or(Ok(()), |(journal, finish)| journal.finish(finish));
    let is_known = matches!(ended, What::RunEnded { error: Some(error), .. } if error.code == codes::TL0728);
    if let Err(error) = &written
        && !is_known
    {
        emit(sink, What::Problem { error: unwritten(error).as_warning() });
    }
    written.is_ok()
}

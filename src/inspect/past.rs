//! Past runs, read from their events.

use std::collections::HashMap;

use crate::event::{Did, Event, What};
use crate::stages::summary;
use crate::state::{Record, StageRun};

/// The events of a past run, in the order in which they happened.
pub fn past_events(record: &Record) -> Vec<Event> {
    let rows: HashMap<_, &StageRun> = record.stages.iter().map(|row| ((&row.stage, &row.instance), row)).collect();
    let mut events = record.events();
    for event in &mut events {
        let What::StageEnded { stage, instance, did: told, .. } = &mut event.what else { continue };
        *told = rows.get(&(&*stage, &*instance)).map(|row| did(row)).unwrap_or_default();
    }
    events
}

/// What a stage of a past run did. Derived from its outputs, which the journal holds for runs of every build.
pub(super) fn did(row: &StageRun) -> Did {
    let kind_and_outputs = row.kind.as_deref().zip(row.outputs.as_ref());
    kind_and_outputs.map(|(kind, outputs)| summary(kind, outputs)).unwrap_or_default()
}

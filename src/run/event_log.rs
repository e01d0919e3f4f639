//! The event log: what a run keeps of its events in the journal, for people.

use serde_json::Value as Json;

use crate::diagnostic::Diagnostic;
use crate::event::What;
use crate::state::{Finish, Note, StageName};

/// The note of an event, if it is about a stage and is kept. Its secrets are masked already.
pub(super) fn note_of(what: &What) -> Option<(StageName, Note)> {
    let name =
        |stage: &String, instance: &Option<String>| StageName { stage: stage.clone(), instance: instance.clone() };
    Some(match what {
        What::StageStarted { stage, instance, kind, attempt } => {
            (name(stage, instance), Note::Started { kind: kind.clone(), attempt: *attempt })
        }
        What::StageProgress { stage, instance, bytes } => (name(stage, instance), Note::Progress(*bytes)),
        What::StageWarning { stage, instance, warning } => {
            (name(stage, instance), Note::Remark { is_retry: false, problem: json(warning) })
        }
        What::StageRetrying { stage, instance, error, .. } => {
            (name(stage, instance), Note::Remark { is_retry: true, problem: json(error) })
        }
        What::StageEnded { stage, instance, outcome, seconds, outputs, reason, error, .. } => (
            name(stage, instance),
            Note::Ended {
                outcome: outcome.word(),
                seconds: *seconds,
                outputs: Json::Object(outputs.clone()),
                reason: reason.clone(),
                error: error.as_ref().map(json),
            },
        ),
        _ => return None,
    })
}

/// The end of a run, from its last event.
pub(super) fn finish(ended: &What) -> Option<Finish> {
    let What::RunEnded { outcome, exit_code, seconds, left_out, error } = ended else { return None };
    Some(Finish {
        outcome: outcome.word(),
        exit_code: *exit_code,
        seconds: *seconds,
        left_out: left_out.clone(),
        error: error.as_ref().map(json),
    })
}

fn json(problem: &Diagnostic) -> Json {
    serde_json::to_value(problem).unwrap_or_default()
}

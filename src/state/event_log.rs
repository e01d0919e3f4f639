//! The events of a past run, from the rows of its journal.
//!
//! The journal keeps a row for each stage and not each event, so progress, output and messages are gone. What is here reads as
//! the run's own events did: reporters show a past run as they show a live one. What a stage did is for its kind to say, which
//! this room does not know: `inspect` fills it in.

use super::record::{Record, Remark, Run, StageRun};
use crate::diagnostic::ExitCode;
use crate::event::{Counts, Did, Event, What};

impl Record {
    /// The events of the run, in the order in which they happened. Each session begins with `RunStarted`; a run without an end
    /// has no `RunEnded`.
    pub fn events(&self) -> Vec<Event> {
        let mut stages: Vec<Timed> = self.instances_first().flat_map(|stage| self.of_stage(stage)).collect();
        // Stable: events of one millisecond stay in the order of their stage.
        stages.sort_by(|a, b| (a.session, &a.ts).cmp(&(b.session, &b.ts)));
        let mut events = Vec::new();
        let mut stages = stages.into_iter().peekable();
        for session in 1..=self.run.sessions.max(1) {
            // When a later session started is not in the journal: its first event is the nearest known time.
            let first = stages.peek().filter(|next| session > 1 && next.session == session);
            let ts = first.map_or_else(|| self.run.started.clone(), |next| next.ts.clone());
            events.push(self.event(ts, self.started(session)));
            while let Some(next) = stages.next_if(|next| next.session <= session) {
                events.push(self.event(next.ts, next.what));
            }
        }
        if let (Some(ended), Some(outcome)) = (&self.run.ended, self.run.outcome) {
            let exit_code =
                self.run.exit_code.unwrap_or(if outcome.is_ok() { ExitCode::Success } else { ExitCode::Failure });
            let (seconds, left_out) = (self.run.seconds.unwrap_or_default(), self.run.left_out.clone());
            let (resumable, error) = (self.run.inputs.is_some(), self.run.error.clone());
            let Run { counts, good, reason, files, bytes, .. } = &self.run;
            let at = good.clone().filter(|_| counts.is_some());
            let counts = Counts { assurance: *counts, at, reason: reason.clone(), files: *files, bytes: *bytes };
            let what = What::RunEnded { outcome, exit_code, seconds, left_out, counts, resumable, error };
            events.push(self.event(ended.clone(), what));
        }
        events
    }

    /// The rows of stages; an instance ends before its stage does.
    fn instances_first(&self) -> impl Iterator<Item = &StageRun> {
        let of = |is_instance: bool| self.stages.iter().filter(move |stage| stage.instance.is_some() == is_instance);
        of(true).chain(of(false))
    }

    fn started(&self, session: u32) -> What {
        let mut stages: Vec<String> = Vec::new();
        for stage in &self.stages {
            if !stages.contains(&stage.stage) {
                stages.push(stage.stage.clone());
            }
        }
        let (pipeline, file) = (self.run.pipeline.clone(), self.run.file.display().to_string());
        What::RunStarted { pipeline, file, stages, session }
    }

    fn of_stage(&self, row: &StageRun) -> Vec<Timed> {
        let (stage, instance) = (&row.stage, &row.instance);
        let mut events = Vec::new();
        let mut add = |session, ts: &str, what| events.push(Timed { session, ts: ts.to_owned(), what });
        if let (Some(started), Some(kind)) = (&row.started, &row.kind) {
            let (stage, instance, kind, attempt) = (stage.clone(), instance.clone(), kind.clone(), row.attempt);
            add(row.session, started, What::StageStarted { stage, instance, kind, attempt });
        }
        let own = |remark: &&Remark| remark.stage == *stage && remark.instance == *instance;
        for remark in self.remarks.iter().filter(own) {
            let (stage, instance, problem) = (stage.clone(), instance.clone(), remark.problem.clone());
            let what = if remark.is_retry {
                What::StageRetrying { stage, instance, attempt: remark.attempt, delay_ms: 0, error: problem }
            } else {
                What::StageWarning { stage, instance, warning: problem }
            };
            add(remark.session, &remark.at, what);
        }
        let last = row.ended.as_ref().or(row.started.as_ref()).unwrap_or(&self.run.started);
        if let Some(bytes) = row.bytes {
            let (stage, instance) = (stage.clone(), instance.clone());
            add(row.session, last, What::StageProgress { stage, instance, bytes });
        }
        if let (Some(ended), Some(outcome)) = (&row.ended, row.outcome) {
            let what = What::StageEnded {
                stage: stage.clone(),
                instance: instance.clone(),
                outcome,
                seconds: row.seconds.unwrap_or_default(),
                outputs: row.outputs.clone().unwrap_or_default(),
                did: Did::default(),
                reason: row.reason.clone(),
                error: row.error.clone(),
                recalled: false,
            };
            add(row.session, ended, what);
        }
        events
    }

    fn event(&self, ts: String, what: What) -> Event {
        Event { ts, run: self.run.id.clone(), what }
    }
}

/// An event with its session.
struct Timed {
    session: u32,
    ts: String,
    what: What,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::dir::StateDir;
    use super::super::journal::Finish;
    use super::super::prior_run::Start;
    use super::*;
    use crate::diagnostic::{Diagnostic, codes};
    use crate::event::Outcome;

    #[test]
    fn the_events_of_a_journal_are_those_that_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::locate(Some(folder.path())).unwrap();
        let start = Start {
            run: "01KB".to_owned(),
            pipeline: "p".to_owned(),
            file: "/p.yaml".into(),
            sha256: "00".to_owned(),
            inputs: None,
            fixed: json!({}),
        };
        let name = || ("m".to_owned(), Some("x".to_owned()));
        let error = Diagnostic::failure(codes::TL0634, "no space is left").help("make room").transient(true);
        let started = |attempt| {
            let (stage, instance) = name();
            What::StageStarted { stage, instance, kind: "upload".to_owned(), attempt }
        };
        let (stage, instance) = name();
        let retrying = What::StageRetrying { stage, instance, attempt: 1, delay_ms: 0, error: error.clone() };
        let (stage, instance) = name();
        let warning = What::StageWarning { stage, instance, warning: error.clone().as_warning() };
        let (stage, instance) = name();
        let progress = What::StageProgress { stage, instance, bytes: 7 };
        let ended = |instance: Option<String>, error: Option<Diagnostic>| What::StageEnded {
            stage: "m".to_owned(),
            instance,
            outcome: Outcome::Failure,
            seconds: 1.5,
            outputs: json!({ "bytes": 7 }).as_object().unwrap().clone(),
            did: Did::default(),
            reason: None,
            error,
            recalled: false,
        };
        let (of_instance, of_stage) = (ended(name().1, Some(error.clone())), ended(None, None));
        let end = What::RunEnded {
            outcome: Outcome::Failure,
            exit_code: ExitCode::Destination,
            seconds: 2.0,
            left_out: vec!["z".to_owned()],
            counts: Counts::default(),
            resumable: false,
            error: Some(error),
        };

        let mut journal = dir.begin_journal(&start).unwrap();
        journal.ready(None).unwrap();
        let written =
            [started(1), retrying.clone(), started(2), warning.clone(), progress.clone(), of_instance.clone()];
        let at = |second: usize| format!("2026-11-24T03:04:0{second}.000Z");
        let all = written.into_iter().chain([of_stage.clone()]).enumerate();
        all.for_each(|(second, what)| journal.log(&at(second), what));
        journal.finish(Finish::of(&end).unwrap()).unwrap();
        drop(journal);

        let record = dir.runs().unwrap().unwrap().record("01KB").unwrap().unwrap();
        let (times, events): (Vec<_>, Vec<_>) = record.events().into_iter().map(|event| (event.ts, event.what)).unzip();
        let (pipeline, file) = (start.pipeline, "/p.yaml".to_owned());
        let begun = What::RunStarted { pipeline, file, stages: vec!["m".to_owned()], session: 1 };
        // The row of a stage knows its last attempt and the start of its first.
        assert_eq!(events, [begun, started(2), retrying, warning, progress, of_instance, of_stage, end]);
        // Events have the times at which they happened, not those at which they were written.
        assert_eq!(times[1..7], [0, 1, 3, 5, 5, 6].map(at));
    }
}

//! The events of a past run, from the rows of its journal.
//!
//! The journal keeps a row for each stage and not each event, so progress, output and messages are gone. What is here reads as
//! the run's own events did: reporters show a past run as they show a live one. What a stage did is for its kind to say, which
//! this room does not know: `inspect` fills it in.

use super::record::{Record, Remark, StageRun};
use crate::diagnostic::ExitCode;
use crate::event::{Did, Event, What};

impl Record {
    /// The events of the run, in the order in which they happened. Each session begins with `RunStarted`; a run without an end
    /// has no `RunEnded`.
    pub fn events(&self) -> Vec<Event> {
        let mut stages: Vec<Timed> = self.instances_first().flat_map(|stage| self.of_stage(stage)).collect();
        // Stable: events of one millisecond stay in the order of their stage.
        stages.sort_by(|a, b| (a.session, &a.ts).cmp(&(b.session, &b.ts)));
        let mut events = Vec::new();
        let mut stages = stages.into_iter().peekable();
        for session in 1..=self.run.sessions {
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
            let what = What::RunEnded { outcome, exit_code, seconds, left_out, error: self.run.error.clone() };
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

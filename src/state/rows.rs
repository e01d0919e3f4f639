//! The rows of a run's journal.

use rusqlite::{Transaction, params};
use serde::Serialize;
use serde_json::Value as Json;

use super::deliveries::DeliveryStep;
use super::journal::Finish;
use super::outbox::stamp;
use super::prior_run::Effect;
use crate::diagnostic::Diagnostic;
use crate::event::{Assurance, Outcome, What};

/// Writes rows of one run, in one transaction.
pub(super) struct Rows<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) run: &'a str,
    pub(super) session: u32,
}

impl Rows<'_> {
    fn run(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.transaction.prepare_cached(sql)?.execute(values).map(drop)
    }

    pub(super) fn ready(&self, inputs: Option<&str>) -> rusqlite::Result<()> {
        self.run("UPDATE runs SET session = 1, inputs = ?2 WHERE id = ?1", params![self.run, inputs])
    }

    pub(super) fn event(&self, at: &str, what: &What) -> rusqlite::Result<()> {
        let (run, session) = (self.run, self.session);
        // A stage itself has an empty instance.
        let name = |instance: &Option<String>| instance.clone().unwrap_or_default();
        match what {
            What::StageStarted { stage, instance, kind, attempt } => self.run(
                "INSERT INTO stages (run, stage, instance, position, kind, session, attempt, started)
                 VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET kind = ?4, session = ?5, attempt = ?6, ended = NULL, outcome = NULL, seconds = NULL,
                 started = iif(?6 = 1, ?7, started), bytes = NULL, outputs = NULL, reason = NULL, error = NULL",
                params![run, stage, name(instance), kind, session, attempt, at],
            ),
            What::StageProgress { stage, instance, bytes } => self.run(
                "UPDATE stages SET bytes = ?4 WHERE run = ?1 AND stage = ?2 AND instance = ?3",
                params![run, stage, name(instance), bytes.cast_signed()],
            ),
            What::StageWarning { stage, instance, warning } => self.remark(at, (stage, &name(instance)), false, warning),
            What::StageRetrying { stage, instance, error, .. } => {
                self.remark(at, (stage, &name(instance)), true, error)
            }
            What::StageEnded { stage, instance, outcome, seconds, outputs, reason, error, .. } => self.run(
                "INSERT INTO stages (run, stage, instance, position, session, ended, outcome, seconds, outputs, reason, error)
                 VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT DO UPDATE SET session = ?4, ended = ?5, outcome = ?6, seconds = ?7, outputs = ?8, reason = ?9,
                 error = ?10",
                params![
                    run,
                    stage,
                    name(instance),
                    session,
                    at,
                    outcome.word(),
                    seconds,
                    text(outputs),
                    reason,
                    error.as_ref().map(text)
                ],
            ),
            _ => Ok(()),
        }
    }

    /// Whether an earlier session did a stage or an instance: its row says so, or its effect, which is durable first.
    pub(super) fn is_done(&self, stage: &str, instance: &str) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM stages WHERE run = ?1 AND stage = ?2 AND instance = ?3 AND session < ?4
                   AND (outcome IN ('success', 'warning')
                        OR (?3 = '' AND EXISTS (SELECT 1 FROM effects WHERE run = ?1 AND stage = ?2 AND instance = -1))))";
        let values = params![self.run, stage, instance, self.session];
        self.transaction.prepare_cached(sql)?.query_row(values, |row| row.get(0))
    }

    /// Writes that a stage need not be done again. It keeps the times of its work; where its end was lost, they are not known.
    pub(super) fn recalled(&self, at: &str, (stage, instance): (&str, &str), outcome: Outcome) -> rusqlite::Result<()> {
        self.run(
            "UPDATE stages SET ended = coalesce(ended, ?4), outcome = ?5 WHERE run = ?1 AND stage = ?2 AND instance = ?3",
            params![self.run, stage, instance, at, outcome.word()],
        )
    }

    fn remark(
        &self,
        at: &str,
        (stage, instance): (&str, &str),
        is_retry: bool,
        problem: &Diagnostic,
    ) -> rusqlite::Result<()> {
        self.run(
            "INSERT INTO remarks (run, stage, instance, session, attempt, at, is_retry, problem)
             VALUES (?1, ?2, ?3, ?4, coalesce((SELECT attempt FROM stages WHERE run = ?1 AND stage = ?2 AND instance = ?3), 0),
             ?5, ?6, ?7)",
            params![self.run, stage, instance, self.session, at, is_retry, text(problem)],
        )
    }

    pub(super) fn left_out(
        &self,
        at: &str,
        stage: &str,
        instance: Option<&str>,
        reason: Option<&str>,
    ) -> rusqlite::Result<()> {
        self.run(
            "INSERT INTO stages (run, stage, instance, position, session, ended, outcome, reason)
             VALUES (?1, ?2, ?3, (SELECT count(*) FROM stages WHERE run = ?1), ?4, ?5, 'skipped', ?6)
             ON CONFLICT DO UPDATE SET session = ?4, ended = ?5, outcome = 'skipped', reason = ?6 WHERE stages.ended IS NULL",
            params![self.run, stage, instance.unwrap_or_default(), self.session, at, reason],
        )
    }

    pub(super) fn effect(&self, effect: &Effect) -> rusqlite::Result<()> {
        self.run(
            "INSERT OR REPLACE INTO effects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                self.run,
                effect.stage,
                number(effect.instance),
                effect.key,
                effect.outputs.to_string(),
                effect.artifact.as_ref().map(Json::to_string),
                effect.warned,
                now()
            ],
        )
    }

    pub(super) fn waiting(&self, group: Option<&str>) -> rusqlite::Result<()> {
        self.run("UPDATE runs SET waiting = ?2 WHERE id = ?1", params![self.run, group])
    }

    pub(super) fn forget(&self, (stage, instance): &(String, Option<usize>)) -> rusqlite::Result<()> {
        let sql = "DELETE FROM effects WHERE run = ?1 AND stage = ?2 AND instance = ?3";
        self.run(sql, params![self.run, stage, number(*instance)])
    }

    pub(super) fn delivery(&self, uri: &str, step: &DeliveryStep) -> rusqlite::Result<()> {
        let (assignment, value) = step.assignment(&now());
        let insert = "INSERT INTO deliveries (run, uri, began) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.run(insert, params![self.run, uri, now()])?;
        let update = format!("UPDATE deliveries SET {assignment} WHERE run = ?1 AND uri = ?2");
        self.run(&update, params![self.run, uri, value])
    }

    pub(super) fn finish(&self, finish: &Finish) -> rusqlite::Result<()> {
        self.run(
            "UPDATE runs SET ended = ?2, outcome = ?3, exit_code = ?4, seconds = coalesce(seconds, 0) + ?5, left_out = ?6, error = ?7,
             counts = ?8, good = max(coalesce(?9, good), coalesce(good, ?9)), reason = ?10,
             files = ?11, bytes = ?12, waiting = NULL WHERE id = ?1",
            params![
                self.run,
                now(),
                finish.outcome.word(),
                u8::from(finish.exit_code),
                finish.seconds,
                (!finish.left_out.is_empty()).then(|| Json::from(finish.left_out.clone()).to_string()),
                finish.error.as_ref().map(text),
                finish.counts.assurance.map(Assurance::word),
                finish.counts.at,
                finish.counts.reason,
                finish.counts.files.map(u64::cast_signed),
                finish.counts.bytes.map(u64::cast_signed),
            ],
        )
    }
}

/// JSON as a column holds it.
pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The number of an instance as a column holds it; -1 without a matrix.
fn number(instance: Option<usize>) -> i64 {
    instance.map_or(-1, |number| i64::try_from(number).unwrap_or(i64::MAX))
}

/// The time now, as a column holds it.
pub(super) fn now() -> String {
    stamp(std::time::Duration::ZERO, false)
}

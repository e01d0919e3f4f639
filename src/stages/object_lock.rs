use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Findings, Known};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::storage::{Lock, LockMode};
use crate::value::PositiveDuration;

/// How an object is protected from removal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ObjectLock {
    /// Who may remove it before its time: `governance` somebody with a special permission, `compliance` nobody.
    mode: Option<LockMode>,
    /// For how long from now.
    retain_for: Option<PositiveDuration>,
    /// Until somebody lifts it, whatever the time.
    #[serde(default)]
    legal_hold: bool,
}

impl ObjectLock {
    /// The lock of an object that is uploaded now.
    pub(super) fn lock(&self, now: Timestamp) -> Result<Lock> {
        if let Some(problem) = problem(self.mode.is_some(), self.retain_for.is_some(), self.legal_hold) {
            return Err(wrong(problem));
        }
        let retention = match (self.mode, self.retain_for) {
            (Some(mode), Some(time)) => {
                // S3 counts whole seconds. Round up, so that the lock is never shorter than requested.
                let until = now.checked_add(SignedDuration::from_secs(1)).and_then(|t| t.checked_add(time.get()));
                let until = until.ok().and_then(|until| Timestamp::from_second(until.as_second()).ok());
                Some((mode, until.ok_or_else(|| wrong("`retain-for` is too long"))?))
            }
            _ => None,
        };
        Ok(Lock { retention, legal_hold: self.legal_hold })
    }

    /// Checks which settings are present together. Values may come from expressions; the keys cannot.
    pub(super) fn check(lock: &Known<'_>, found: &mut Findings) {
        let Some(mut keys) = lock.keys() else { return };
        let may_hold = lock.get("legal-hold").is_some_and(|hold| !hold.is_false());
        // The schema reports a misspelt key.
        let are_known = keys.all(|key| ["mode", "retain-for", "legal-hold"].contains(&key));
        let problem = problem(lock.get("mode").is_some(), lock.get("retain-for").is_some(), may_hold);
        if let Some(problem) = problem.filter(|_| are_known) {
            found.at_key(lock, wrong(problem));
        }
    }
}

fn wrong(problem: &str) -> Diagnostic {
    Diagnostic::usage(codes::TL0656, problem).help("write `object-lock: { mode: compliance, retain-for: 30d }`")
}

/// What an `object-lock` lacks, given which settings are present.
fn problem(mode: bool, retain_for: bool, legal_hold: bool) -> Option<&'static str> {
    match (mode, retain_for) {
        (true, true) => None,
        (false, false) if legal_hold => None,
        (false, false) => Some("`object-lock` says nothing"),
        _ => Some("`mode` and `retain-for` go together"),
    }
}

/// A lock in words, as far as its settings are known, such as `compliance for 30d`.
pub fn lock_words(lock: &Json) -> String {
    let word = |key: &str| lock[key].as_str().map(str::to_owned);
    let retention = match (word("mode"), word("retain-for")) {
        (Some(mode), Some(time)) => Some(format!("{mode} for {time}")),
        (mode, time) => mode.or(time),
    };
    let hold = (lock["legal-hold"] == true).then(|| "legal hold".to_owned());
    let all: Vec<String> = retention.into_iter().chain(hold).collect();
    all.join(", ")
}

//! Words that later versions will have, and words of other tools. Both get a better answer than "unknown key".
//!
//! A word that is not built yet is refused, so that a file that is accepted does what it says.

use crate::expression::did_you_mean;

/// Keys of later versions, by the thing that has them.
const KEYS: &[(&str, &str)] = &[("audit", "anchor")];

/// Values of later versions, by the key that has them.
const VALUES: &[(&str, &str)] = &[
    ("stage", "dump"),
    ("stage", "backup"),
    ("stage", "retain"),
    ("stage", "check"),
    ("stage", "restore"),
    ("stage", "drill"),
    ("secret", "vault"),
    ("secret", "keyring"),
    ("level", "sample"),
];

/// Keys of other tools, and their name in tl.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("pipeline", "jobs", "stages"),
    ("pipeline", "tasks", "stages"),
    ("pipeline", "steps", "stages"),
    ("pipeline", "on", "schedule"),
    ("pipeline", "notifications", "notify"),
    ("pipeline", "parallel", "max-parallel"),
    ("pipeline", "cron", "schedule"),
    ("pipeline", "include", "extends"),
    ("pipeline", "imports", "extends"),
    ("pipeline", "base", "extends"),
    ("stage", "depends", "needs"),
    ("stage", "depends_on", "needs"),
    ("stage", "depends-on", "needs"),
    ("stage", "when", "if"),
    ("stage", "command", "run"),
    ("stage", "script", "run"),
    ("stage", "type", "uses"),
    ("stage", "kind", "uses"),
    ("stage", "parameters", "with"),
    ("stage", "args", "with"),
    ("stage", "timeout-minutes", "timeout"),
    ("stage", "timeout_sec", "timeout"),
    ("stage", "retries", "retry"),
    ("stage", "allow_failure", "continue-on-error"),
    ("stage", "allow-failure", "continue-on-error"),
    ("stage", "node", "runs-on"),
    ("defaults", "retries", "retry"),
    ("strategy", "parallel", "max-parallel"),
    ("concurrency", "timeout", "wait"),
    ("retry", "limit", "attempts"),
    ("retry", "max", "attempts"),
    ("retry", "backoff", "factor"),
    ("input", "values", "enum"),
    ("input", "options", "enum"),
];

/// Values of other tools, and their name in tl.
const FOREIGN_VALUES: &[(&str, &str, &str)] = &[
    ("type", "text", "string"),
    ("type", "str", "string"),
    ("type", "integer", "int"),
    ("type", "float", "number"),
    ("type", "boolean", "bool"),
    ("store", "directory", "dir"),
    ("store", "local", "dir"),
    ("secret", "environment", "env"),
    ("when", "failed", "failure"),
    ("when", "error", "failure"),
];

/// Keys of other tools without a counterpart, and what to do instead.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("pipeline", "env", "each stage has its own `env`"),
    ("pipeline", "on-warning", "write it under `defaults`, or in a stage"),
    ("stage", "matrix", "write it under `strategy`: `strategy: { matrix: { … } }`"),
    ("stage", "fail-fast", "write it under `strategy`, beside `matrix`"),
    ("stage", "concurrency", "a whole pipeline has a `concurrency`; a stage waits for those in its `needs`"),
    (
        "concurrency",
        "cancel-in-progress",
        "a run that protects data is not cancelled by the next one: say `if-busy: skip`",
    ),
    ("stage", "steps", "a stage does one thing: make each step a stage, and order them by `needs`"),
    (
        "secret",
        "value",
        "the value of a secret never stands in a file: take it `from: env` or `from: file`, or seal it: `tl secret seal`",
    ),
];

pub(super) fn is_future_key(place: &str, key: &str) -> bool {
    KEYS.contains(&(place, key))
}

pub(super) fn is_future_value(place: &str, value: &str) -> bool {
    VALUES.contains(&(place, value))
}

/// The key that an unknown key probably stands for: the word of another tool, or a misspelt key.
pub(super) fn intended_key<'k>(place: &str, key: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let foreign = FOREIGN.iter().find(|(where_, foreign, _)| *where_ == place && *foreign == key);
    match foreign {
        Some((.., own)) => Some(own),
        None if instead_of(place, key).is_some() => None,
        None => did_you_mean(key, known),
    }
}

/// The value of tl that corresponds to a value of another tool.
pub(super) fn equivalent_value(what: &str, value: &str) -> Option<&'static str> {
    FOREIGN_VALUES.iter().find(|(where_, foreign, _)| *where_ == what && *foreign == value).map(|(.., own)| *own)
}

/// What to write instead of a key of another tool.
pub(super) fn instead_of(place: &str, key: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(where_, foreign, _)| *where_ == place && *foreign == key).map(|(.., instead)| *instead)
}

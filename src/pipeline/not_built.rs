//! Words of the design that this version does not have yet, and words of other tools. Both get a better answer than
//! "unknown key".

/// Keys that later versions have, by where they stand.
const KEYS: &[(&str, &str)] = &[
    ("pipeline", "extends"),
    ("pipeline", "concurrency"),
    ("pipeline", "expect"),
    ("pipeline", "schedule"),
    ("pipeline", "policy"),
    ("pipeline", "on-warning"),
    ("stage", "strategy"),
    ("stage", "on-warning"),
    ("stage", "runs-on"),
    ("upload", "object-lock"),
    ("upload", "resume"),
    ("audit", "anchor"),
];

/// Values that later versions have, by the key they stand behind.
const VALUES: &[(&str, &str)] = &[
    ("stage", "dump"),
    ("stage", "backup"),
    ("stage", "retain"),
    ("stage", "check"),
    ("stage", "restore"),
    ("stage", "drill"),
    ("store", "s3"),
    ("channel", "webhook"),
    ("channel", "email"),
    ("channel", "desktop"),
    ("secret", "command"),
    ("secret", "systemd-creds"),
    ("secret", "sealed"),
    ("secret", "vault"),
    ("secret", "keyring"),
    ("level", "sample"),
    ("when", "stale"),
];

/// What other tools call a key, and what tl calls it.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("pipeline", "jobs", "stages"),
    ("pipeline", "tasks", "stages"),
    ("pipeline", "steps", "stages"),
    ("pipeline", "on", "schedule"),
    ("pipeline", "env", "inputs"),
    ("pipeline", "notifications", "notify"),
    ("pipeline", "parallel", "max-parallel"),
    ("stage", "steps", "needs"),
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
];

pub(super) fn is_key_to_come(place: &str, key: &str) -> bool {
    KEYS.contains(&(place, key)) || (place == "pipeline" && key.starts_with("x-"))
}

pub(super) fn is_value_to_come(place: &str, value: &str) -> bool {
    VALUES.contains(&(place, value))
}

pub(super) fn own_word(place: &str, key: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(where_, foreign, _)| *where_ == place && *foreign == key).map(|(.., own)| *own)
}

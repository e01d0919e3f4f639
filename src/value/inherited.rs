/// What a child inherits from tl's own environment. Everything else may be a secret.
pub const INHERITED: [&str; 5] = ["PATH", "HOME", "TZ", "LANG", "TMPDIR"];

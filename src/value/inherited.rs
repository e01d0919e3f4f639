/// The environment variables that a child process inherits from tl. An allow-list, since any other may hold a secret.
pub const INHERITED: [&str; 5] = ["PATH", "HOME", "TZ", "LANG", "TMPDIR"];

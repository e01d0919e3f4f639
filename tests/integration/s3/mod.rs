//! Stores of kind `s3`: against a server that fails as it is told, and against servers of others.

mod fault;
mod faults;

use crate::program::{Ended, Tl};

/// Runs the program with this key and nothing else of what the AWS tools would find on the machine, but for a profile
/// `renewable` with the same key.
pub fn with_keys(tl: &Tl, arguments: &[&str], (id, secret): (&str, &str)) -> Ended {
    let empty = tl.file("aws-empty");
    let profile = format!("[renewable]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    tl.write("aws-empty", "").write("aws-credentials", profile);
    crate::program::ended(
        tl.command(arguments)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", &empty)
            .env("AWS_SHARED_CREDENTIALS_FILE", tl.file("aws-credentials"))
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret),
    )
}

//! What tests of S3 share: keys, bytes, and `tl` without the AWS settings of the machine.

use std::io::Read as _;
use std::process::Command;

use super::program::{Ended, Tl, ended};

/// A key that is good only where a server is set up with it, or checks none.
pub const KEYS: (&str, &str) = ("AKIATESTTESTTESTTEST", "not/a/secret");

pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Asserts that these bytes are an archive with one file of this content.
pub fn archive_of(bytes: &[u8], content: &[u8]) {
    let mut files = Vec::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut file = Vec::new();
            entry.read_to_end(&mut file).unwrap();
            files.push(file);
        }
    }
    assert!(files.len() == 1 && files[0] == content, "the archive holds something else");
}

/// Runs the program with this key.
pub fn with_keys(tl: &Tl, arguments: &[&str], keys: (&str, &str)) -> Ended {
    ended(&mut keyed(tl, arguments, keys))
}

/// The program with this key and nothing else of what the AWS tools would find on the machine, except a profile
/// `renewable` with the same key.
pub fn keyed(tl: &Tl, arguments: &[&str], (id, secret): (&str, &str)) -> Command {
    let empty = tl.file("aws-empty");
    let profile = format!("[renewable]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    tl.write("aws-empty", "").write("aws-credentials", profile);
    let mut command = tl.command(arguments);
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", &empty)
        .env("AWS_SHARED_CREDENTIALS_FILE", tl.file("aws-credentials"))
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret);
    command
}

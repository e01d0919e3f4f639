//! C8, second half: the `age` and `age-keygen` programs, in processes of their own.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use timelocker::crypto::{Identity, parse_identities};

use super::{SIZES, key, noise, opened, sealed};

/// Runs a program that must be on this machine, and returns what it wrote.
fn run(program: &str, args: &[&Path]) -> Vec<u8> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("the feature `peers` needs the program `{program}` (Debian package age): {error}")
    });
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_age_program_opens_what_tl_seals() {
    let folder = tempfile::tempdir().unwrap();
    let (identity_file, file) = (folder.path().join("key"), folder.path().join("sealed"));
    let identity = Identity::generate();
    fs::write(&identity_file, identity.encode().expose()).unwrap();
    let stranger = Identity::generate().recipient();
    for size in SIZES {
        let plain = noise(size);
        for threads in [1, 2, 4] {
            fs::write(&file, sealed(&plain, &[stranger, identity.recipient()], threads)).unwrap();
            let released = run("age", &["-d".as_ref(), "-i".as_ref(), &identity_file, &file]);
            assert!(released == plain, "{size} bytes, {threads} threads");
        }
    }
}

#[test]
fn tl_opens_what_the_age_program_seals() {
    let folder = tempfile::tempdir().unwrap();
    let plain_file = folder.path().join("plain");
    let text = String::from_utf8(run("age-keygen", &[])).unwrap();
    let identities = parse_identities(&text).unwrap();
    let [identity] = &*identities else { panic!("age-keygen wrote {} identities", identities.len()) };
    let recipient = identity.recipient().to_string();
    assert!(text.contains(&recipient), "age-keygen derives the same recipient");
    for size in SIZES {
        let plain = noise(size);
        fs::write(&plain_file, &plain).unwrap();
        let file = run("age", &["-r".as_ref(), recipient.as_ref(), &plain_file]);
        for threads in [1, 2, 4] {
            let (released, result) = opened(&file, &key(identity), threads);
            assert!(result.is_ok() && released == plain, "{size} bytes, {threads} threads: {result:?}");
        }
    }
}

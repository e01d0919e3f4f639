//! Stock `age` and `tl` as separate processes, in both directions.

use std::fs;
use std::process::Command;

use super::sample::{SIZES, noise};
use crate::support::{Tl, ended};

fn age(tl: &Tl, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).current_dir(tl.path()).output();
    let output =
        output.unwrap_or_else(|error| panic!("the feature `peers` needs `{program}` (Debian package age): {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn stock_age_opens_what_tl_seals() {
    let tl = Tl::new();
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
    for size in SIZES {
        tl.write("plain", noise(size));
        tl.ok(&["seal", "-f", "-R", "recipients.txt", "-o", "sealed", "plain"]);
        // Not to a file: this version of age creates none for an empty plaintext.
        assert_eq!(age(&tl, "age", &["-d", "-i", "identity.txt", "sealed"]), noise(size), "{size}");
    }
}

#[test]
fn tl_opens_what_stock_age_seals() {
    let tl = Tl::new();
    age(&tl, "age-keygen", &["-o", "identity.txt"]);
    let recipient = String::from_utf8(age(&tl, "age-keygen", &["-y", "identity.txt"])).unwrap();
    assert_eq!(tl.ok(&["key", "show", "identity.txt"]).stdout, recipient);
    for size in SIZES {
        tl.write("plain", noise(size));
        age(&tl, "age", &["-r", recipient.trim(), "-o", "sealed", "plain"]);
        tl.ok(&["open", "-f", "-i", "identity.txt", "-o", "back", "sealed"]);
        assert_eq!(fs::read(tl.file("back")).unwrap(), noise(size), "{size}");
    }
}

#[test]
fn a_pipe_of_both_programs() {
    let tl = Tl::new();
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
    tl.write("plain", noise(3_000_000));
    let program = env!("CARGO_BIN_EXE_tl");
    let line = format!(
        "{program} seal -R recipients.txt < plain | age -d -i identity.txt | age -R recipients.txt | {program} open -i identity.txt - | \
         cmp - plain"
    );
    let ended = ended(Command::new("bash").args(["-eo", "pipefail", "-c", &line]).current_dir(tl.path()));
    assert_eq!(ended.code, 0, "{ended:?}");
}

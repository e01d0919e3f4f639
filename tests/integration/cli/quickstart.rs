//! The two commands of README, and how to undo them.

use std::fs;
use std::path::Path;

use crate::support::{Tl, files, root};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // Files that a manual run left there are not part of it.
        if ["identity.txt", "recipients.txt", "store", "messages.log"].iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs the quickstart once, in its own folder.
fn quickstart() -> Tl {
    let tl = Tl::new();
    copy(&root().join("examples/quickstart"), &tl.file("quickstart"));
    let ended = tl.ok(&["run", "quickstart/pipeline.yaml"]);
    // Both streams of a child are read concurrently, so the order of their lines is random.
    let (child, report): (Vec<&str>, Vec<&str>) =
        ended.stdout.lines().partition(|line| line.starts_with("  identity "));
    assert_eq!(child.len(), 3, "{child:?}");
    insta::assert_snapshot!("quickstart", tl.redact(&report.join("\n")));
    tl
}

fn object(tl: &Tl) -> String {
    let names = files(&tl.file("quickstart/store"));
    let object = names.iter().find(|name| name.ends_with(".age")).unwrap();
    format!("quickstart/store/{object}")
}

#[test]
fn the_quickstart_delivers_what_it_collected_and_the_way_back_gives_it() {
    use std::os::unix::fs::PermissionsExt;
    let tl = quickstart();
    let mode = fs::metadata(tl.file("quickstart/identity.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let message = tl.read("quickstart/messages.log");
    assert!(message.starts_with("quickstart: success after "), "{message}");
    tl.ok(&["audit", "verify"]);

    tl.ok(&["open", "-i", "quickstart/identity.txt", "-o", "back.tar.zst", &object(&tl)]);
    let tar = zstd::decode_all(fs::File::open(tl.file("back.tar.zst")).unwrap()).unwrap();
    let mut names = Vec::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if entry.header().entry_type().is_file() {
            let mut back = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut back).unwrap();
            assert_eq!(back, fs::read(tl.file("quickstart").join(&path)).unwrap(), "{}", path.display());
        }
        names.push(path.display().to_string());
    }
    let excluded = "sample/orders/scratch.tmp";
    assert!(tl.file("quickstart").join(excluded).exists() && !names.iter().any(|name| name == excluded));
    assert!(names.iter().any(|name| name == "sample/orders/2026/january.csv"), "{names:?}");
}

#[test]
fn a_second_run_uses_the_same_identity_and_adds_an_object() {
    let tl = quickstart();
    let identity = tl.read("quickstart/identity.txt");
    tl.ok(&["run", "quickstart/pipeline.yaml"]);
    assert_eq!(tl.read("quickstart/identity.txt"), identity);
    assert_eq!(files(&tl.file("quickstart/store")).iter().filter(|name| name.ends_with(".age")).count(), 2);
}

#[cfg(feature = "peers")]
#[test]
fn stock_age_and_tar_find_the_way_back() {
    let tl = quickstart();
    tl.write("back/.keep", "");
    let line = format!(
        "cd back && age -d -i ../quickstart/identity.txt ../{} | tar --zstd -xf - && \
         diff -r --exclude='*.tmp' sample ../quickstart/sample && cd ../quickstart/store && cd * && sha256sum -c --quiet *.sha256",
        object(&tl)
    );
    let ended = crate::support::ended(
        std::process::Command::new("bash").args(["-eo", "pipefail", "-c", &line]).current_dir(tl.path()),
    );
    assert_eq!(ended.code, 0, "{ended:?}");
}

//! Tests with other programs: stock `age`, GNU tar, a full disk.

use std::fs;
use std::process::Command;

use crate::support::{CHAIN, Disk, Ended, Tl, ended, error_of, files, is_root, outcomes, tree};

fn bash(tl: &Tl, line: &str) -> Ended {
    let ended = ended(Command::new("bash").args(["-eo", "pipefail", "-c", line]).current_dir(tl.path()));
    assert_eq!(ended.code, 0, "{line}\n{ended:?}");
    ended
}

/// The odd tree, sealed and delivered by a run, and restored in two ways.
#[test]
fn ten_thousand_odd_files_come_back_through_age_and_through_tl() {
    assert!(is_root(), "owners, devices and set-uid bits can be restored by root alone");
    let tl = Tl::new();
    // Not on a tmpfs: it may lack extended attributes.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = root.path().join("data");
    tree::build(&data, 10_000);
    let before = tree::snapshot(&data);
    tl.pipeline(&format!(
        "stages:\n{}",
        CHAIN.replace("sources: [data]", &format!("sources: ['{}'], compress: zstd", data.display()))
    ));
    let ended = tl.run(&["run", "p.yaml"]);
    // The tree has no sockets and root can read everything, so nothing may be left out.
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    let tar = "tar --zstd --xattrs --xattrs-include='*' --same-owner --warning=no-timestamp -xpf -";
    for (name, open) in [
        ("age", "age -d -i identity.txt shelf/object".to_owned()),
        ("tl", format!("{} open -i identity.txt shelf/object", env!("CARGO_BIN_EXE_tl"))),
    ] {
        let back = root.path().join(name);
        fs::create_dir(&back).unwrap();
        bash(&tl, &format!("{open} | (cd '{}' && {tar})", back.display()));
        let restored = back.join(data.strip_prefix("/").unwrap());
        tree::compare(&before, &tree::snapshot(&restored));
    }
}

/// An ACL comes back with each option by which people restore one. Without any, GNU tar restores none.
#[test]
fn access_lists_come_back_by_every_dialect() {
    let tl = Tl::new();
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = root.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("a"), "x").unwrap();
    let set = "setfacl -m u:1234:rw,g:99:r a && setfacl -m u:1234:rwx . && setfacl -d -m u:77:rx .";
    bash(&tl, &format!("cd '{}' && {set}", data.display()));
    let shown = |folder: &std::path::Path| bash(&tl, &format!("cd '{}' && getfacl -cnR .", folder.display())).stdout;
    let before = shown(&data);
    assert!(before.contains("user:1234:rw-") && before.contains("default:user:77:r-x"), "{before}");
    tl.pipeline(&format!(
        "stages:\n  collect: {{ uses: archive, with: {{ sources: ['{}'] }} }}\n  deliver: {{ needs: collect, uses: upload, with: \
         {{ artifact: '${{{{ needs.collect.outputs.artifact }}}}', store: shelf, key: a.tar }} }}\n",
        data.display()
    ));
    tl.ok(&["run", "p.yaml"]);
    for reader in
        ["tar --acls", "tar --xattrs --xattrs-include='*'", "tar --xattrs --xattrs-include='*' --acls", "bsdtar"]
    {
        let back = tempfile::tempdir_in(root.path()).unwrap();
        bash(&tl, &format!("{reader} -xpf shelf/a.tar -C '{}'", back.path().display()));
        assert_eq!(shown(&back.path().join(data.strip_prefix("/").unwrap())), before, "{reader}");
    }
}

fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    bytes
}

#[test]
fn a_full_store_keeps_nothing_partial() {
    let tl = Tl::new();
    tl.write("data/a", noise(3 << 20)).pipeline(&format!("stages:\n{CHAIN}"));
    let shelf = tl.file("shelf");
    let _disk = Disk::new(&shelf, "1m");
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 1);
    assert_eq!(error_of(&events, "deliver"), "TL0634");
    assert_eq!(outcomes(&events).iter().filter(|(_, outcome)| outcome == "cancelled").count(), 2);
    assert!(files(&shelf).is_empty(), "{:?}", files(&shelf));
    insta::assert_snapshot!("disk_full", tl.run(&["run", "p.yaml"]).shown(&tl));
    tl.ok(&["audit", "verify"]);
}

#[test]
fn a_full_state_folder_stops_the_run_and_loses_nothing_that_was_recorded() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{}", CHAIN.replace("key: object", "key: '${{ run.id }}'")));
    let state = tl.state();
    let _disk = Disk::new(&state, "500k");
    let mut codes = Vec::new();
    for _ in 0..60 {
        let ended = tl.run(&["run", "p.yaml"]);
        codes.push(ended.code);
        if ended.code != 0 {
            assert!(ended.stdout.contains("error[TL07"), "{}", ended.stdout);
            break;
        }
    }
    assert!(codes.len() > 1 && codes.last() == Some(&1), "{codes:?}");
    // Every acknowledged record exists, and the log is as it was signed.
    tl.ok(&["audit", "verify"]);
    bash(&tl, "mount -o remount,size=16m state");
    tl.ok(&["run", "p.yaml"]);
    tl.ok(&["audit", "verify"]);
}

#[test]
fn a_full_work_folder_fails_the_stage_that_spools() {
    let tl = Tl::new();
    tl.write("data/a", noise(3 << 20));
    // Two consumers: the artifact is a file in the work folder.
    tl.pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [data] } }\n  a: { needs: collect, uses: upload, with: { artifact: '${{ \
         needs.collect.outputs.artifact }}', store: shelf, key: a } }\n  b: { needs: collect, uses: upload, with: { artifact: '${{ \
         needs.collect.outputs.artifact }}', store: shelf, key: b } }\n",
    );
    let state = tl.state();
    {
        let _disk = Disk::new(&state, "500k");
        let (code, events) = tl.events(&[]);
        assert_eq!((code, error_of(&events, "collect")), (1, "TL0607".to_owned()));
        assert!(files(&tl.file("shelf")).is_empty());
    }
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(fs::read(tl.file("shelf/a")).unwrap(), fs::read(tl.file("shelf/b")).unwrap());
}

/// Memory does not grow with data. The published figure is measured with 4 GiB; this test uses less.
#[test]
fn memory_stays_small() {
    let tl = Tl::new();
    tl.write("data/a", noise(300 << 20)).pipeline(&format!(
        "stages:\n{CHAIN}  prove: {{ needs: deliver, uses: verify, with: {{ object: '${{{{ needs.deliver.outputs.object }}}}' }} }}\n"
    ));
    let line = format!("TL_STATE=state /usr/bin/time -f %M -o peak {} run p.yaml", env!("CARGO_BIN_EXE_tl"));
    bash(&tl, &line);
    let kib: u64 = tl.read("peak").trim().parse().unwrap();
    assert!(kib < 96 << 10, "peak memory: {kib} KiB");
}

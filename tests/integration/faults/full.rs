//! A state folder on its own disk, which another program fills up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::sample::{delivered, lay_out, output_of, proven};
use crate::support::{Disk, events};

/// This many bytes are free when the run begins: from none to more than it needs.
#[test]
fn a_state_folder_that_is_full_is_told_and_mended_by_making_room() {
    let mut codes = Vec::new();
    for left in [0_u64, 4, 8, 16, 32, 64, 96, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1_024, 4_096] {
        let tl = lay_out();
        let _disk = Disk::new(&tl.state(), "8m");
        fs::set_permissions(tl.state(), PermissionsExt::from_mode(0o700)).unwrap();
        let about = rustix::fs::statvfs(tl.state()).unwrap();
        let filler = about.f_bavail * about.f_frsize - (left << 10);
        fs::write(tl.state().join("filler"), vec![1; usize::try_from(filler).unwrap()]).unwrap();
        let mut command = tl.command(&["run", "p.yaml", "--reporter", "json"]);
        let output = output_of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let (code, told) = (output.status.code().unwrap(), events(&stdout));
        let text = format!("{left} KiB: exit code {code}\n{stdout}{stderr}");
        assert!(!text.contains("panicked") && !text.contains("TL09") && code != 20, "{text}");
        codes.push(code);
        let run = told[0]["run"].as_str().unwrap();
        let problems = || told.iter().map(|event| &event["error"]).filter(|error| error.is_object());
        if code == 0 {
            delivered(&tl, run).expect(&text);
        } else {
            assert!(text.contains(&*tl.state().to_string_lossy()), "{text}");
            assert!(problems().any(|error| error["help"].is_string()), "{text}");
        }
        fs::remove_file(tl.state().join("filler")).unwrap();
        let before = proven(&tl, run);
        // A report names the way back exactly where there is one.
        assert_eq!(told.last().unwrap()["resumable"], before.is_some(), "{text}");
        assert!(problems().filter(|error| error["code"] == "TL0728").count() <= 1, "{text}");
        if code != 0 {
            let given: &[&str] = if before.is_some() { &["--resume", run] } else { &["p.yaml"] };
            let next = tl.run(&[&["run", "--reporter", "json"][..], given].concat());
            assert_eq!(next.code, 0, "{text}\nand then {next:?}");
            delivered(&tl, events(&next.stdout)[0]["run"].as_str().unwrap()).unwrap();
        }
        tl.ok(&["audit", "verify"]);
    }
    assert!(codes.contains(&0) && codes.iter().any(|code| *code != 0), "{codes:?}");
    println!("{codes:?}");
}
